"""torchvision's ResNet with dilation instead of stride, both stems, returning all four stages.

Plain PyTorch. Next: `fcn.py`, which puts the heads on top.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet, conv3x3

from fcn_lightning import InputError

BLOCKS_PER_STAGE = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


class DilatedBasicBlock(BasicBlock):
    """torchvision's two-convolution block with the dilation on `conv1` only; `conv2` stays undilated.

    torchvision's own block refuses dilation; this is the one of the published R-18 rows.

    Source: open-mmlab/mmsegmentation, `BasicBlock` in mmseg/models/backbones/resnet.py.
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:
        """Build torchvision's block, then dilate its first convolution."""
        super().__init__(inplanes, planes, stride, downsample, groups, base_width, 1, norm_layer)
        self.conv1 = conv3x3(inplanes, planes, stride, dilation=dilation)


class DilatedResNet(ResNet):
    """ResNet-18, -50 or -101 as a feature extractor with output stride 8 or 16.

    The last one or two stages trade their stride for dilation; the first block of such a stage keeps
    half the dilation, as torchvision does. Parameter names are torchvision's, plus `stem.0` to
    `stem.7` for the deep stem, so published weights load without renaming.

    Args:
        depth: 18, 50 or 101.
        deep_stem: three 3x3 convolutions ("v1c") instead of torchvision's one 7x7.
        output_stride: image size over the size of the last feature map, 8 or 16.

    Raises:
        InputError: another depth or output stride.

    Source: Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", section 3.1;
    open-mmlab/mmsegmentation, `ResNetV1c` with contract_dilation.
    """

    def __init__(self, depth: int, *, deep_stem: bool, output_stride: int) -> None:
        """Build the network with random weights: Kaiming normal (fan out), last norm of each block 0."""
        if depth not in BLOCKS_PER_STAGE:
            raise InputError(f"model.depth={depth} is not one of {sorted(BLOCKS_PER_STAGE)}; choose backbone=r18, r50 or r101")
        if output_stride not in (8, 16):
            raise InputError(f"model.output_stride={output_stride} is not 8 or 16; choose head=d8 or head=d6")
        super().__init__(
            DilatedBasicBlock if depth == 18 else Bottleneck,
            list(BLOCKS_PER_STAGE[depth]),
            zero_init_residual=True,
            replace_stride_with_dilation=[False, output_stride == 8, True],
        )
        del self.fc, self.avgpool
        self.deep_stem = deep_stem
        if deep_stem:
            del self.conv1, self.bn1
            self.stem = _deep_stem()
        expansion = 1 if depth == 18 else 4
        self.channels = tuple(width * expansion for width in (64, 128, 256, 512))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the outputs of the four stages.

        Args:
            image: normalised RGB, (B, 3, H, W), any H and W.

        Returns:
            Four maps (B, channels[i], h, w): strides 4, 8, then 8 and 8 (output stride 8) or 16 and 16.
            Each halving rounds up: 769 pixels give 97 at stride 8.
        """
        x = self.stem(image) if self.deep_stem else self.relu(self.bn1(self.conv1(image)))
        x = self.maxpool(x)  # (B, 64, H/4, W/4)
        features = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            features.append(x)
        return features


def _deep_stem() -> nn.Sequential:
    widths = ((3, 32, 2), (32, 32, 1), (32, 64, 1))
    layers: list[nn.Module] = []
    for inplanes, planes, stride in widths:
        conv = conv3x3(inplanes, planes, stride)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        layers += [conv, nn.BatchNorm2d(planes), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
