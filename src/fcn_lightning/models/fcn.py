"""The Fully Convolutional Network: a dilated ResNet, the FCN head, and the auxiliary head used in training.

Plain PyTorch. `fcn(...)` builds one from scalars; nothing here knows of configuration or training.
Letters in shapes: B batch, K classes, H W image size, h w size of the last feature map.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from fcn_lightning.models.pretrained import load_imagenet
from fcn_lightning.models.resnet import DilatedResNet


class ConvUnit(nn.Module):
    """3x3 convolution without bias, BatchNorm, ReLU."""

    def __init__(self, in_channels: int, channels: int, *, dilation: int = 1) -> None:
        """Build the unit; padding equals the dilation, so the size stays."""
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.activate = nn.ReLU(inplace=True)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, h, w) to (B, channels, h, w)."""
        return self.activate(self.bn(self.conv(x)))  # type: ignore[no-any-return]  # modules are untyped calls


class FCNHead(nn.Module):
    """Convolutions on one feature map, then a 1x1 classifier.

    Args:
        in_channels: channels of the feature map; the head works with a quarter of them.
        num_classes: K.
        num_convs: 3x3 units before the classifier.
        concat_input: append the feature map to the units' result and fuse both with one more 3x3 unit.
        dilation: of the units, except the fusing one, which is never dilated.
        dropout: probability of dropping a whole channel before the classifier, in [0, 1).

    Source: Long et al., "Fully Convolutional Networks for Semantic Segmentation", in the form of
    open-mmlab/mmsegmentation, `FCNHead`.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        num_convs: int,
        concat_input: bool,
        dilation: int = 1,
        dropout: float = 0.1,
    ) -> None:
        """Build the head; the classifier starts at normal(0, 0.01) and bias 0."""
        super().__init__()
        channels = in_channels // 4
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)
        widths = [in_channels] + [channels] * num_convs
        self.convs = nn.Sequential(*(ConvUnit(a, b, dilation=dilation) for a, b in pairwise(widths)))
        self.conv_cat = ConvUnit(in_channels + channels, channels) if concat_input else None
        self.dropout = nn.Dropout2d(dropout)
        nn.init.normal_(self.conv_seg.weight, std=0.01)
        nn.init.zeros_(self.conv_seg.bias)  # type: ignore[arg-type]  # Conv2d.bias is optional in general, present here

    def forward(self, feature: Tensor) -> Tensor:
        """Map a feature map (B, in_channels, h, w) to logits (B, K, h, w)."""
        x = self.convs(feature)
        if self.conv_cat is not None:
            x = self.conv_cat(torch.cat([feature, x], dim=1))  # input first: the order of published weights
        return self.conv_seg(self.dropout(x))  # type: ignore[no-any-return]  # modules are untyped calls


class FCN(nn.Module):
    """Backbone, decode head on stage 4, auxiliary head on stage 3.

    Args:
        backbone: returns four feature maps and states their `channels`.
        num_classes: K.
        head_dilation: dilation of both heads' units; 6 in the "D6" rows.
        dropout: channel dropout of both heads.
        align_corners: how the logits are to be resized, by loss and inference alike.
    """

    def __init__(
        self,
        backbone: DilatedResNet,
        num_classes: int,
        *,
        head_dilation: int = 1,
        dropout: float = 0.1,
        align_corners: bool = False,
    ) -> None:
        """Build both heads with random weights."""
        super().__init__()
        self.num_classes = num_classes
        self.align_corners = align_corners
        self.backbone = backbone
        self.decode_head = FCNHead(
            backbone.channels[3], num_classes, num_convs=2, concat_input=True, dilation=head_dilation, dropout=dropout
        )
        self.auxiliary_head = FCNHead(
            backbone.channels[2], num_classes, num_convs=1, concat_input=False, dilation=head_dilation, dropout=dropout
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return low-resolution logits.

        Args:
            image: normalised RGB, (B, 3, H, W).

        Returns:
            (B, K, h, w), h = ceil(H / output stride).
        """
        return self.decode_head(self.backbone(image)[3])  # type: ignore[no-any-return]  # modules are untyped calls

    def forward_with_aux(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of both heads, each (B, K, h, w), for the training loss."""
        features = self.backbone(image)
        return self.decode_head(features[3]), self.auxiliary_head(features[2])


def fcn(
    num_classes: int,
    *,
    depth: int,
    deep_stem: bool,
    output_stride: int = 8,
    head_dilation: int = 1,
    dropout: float = 0.1,
    align_corners: bool = False,
    pretrained: bool = False,
) -> FCN:
    """Build an FCN from scalars.

    Args:
        num_classes: K.
        depth: of the ResNet: 18, 50 or 101.
        deep_stem: the published rows' stem (true) or torchvision's own (false, the "b" rows).
        output_stride: 8 ("D8") or 16 ("D16").
        head_dilation: 1, or 6 in the "D6" rows.
        dropout: channel dropout of both heads, in [0, 1).
        align_corners: true for the 769x769 rows.
        pretrained: start the backbone from ImageNet weights.

    Raises:
        InputError: the ImageNet weights cannot be had, or are not the published file.
    """
    backbone = DilatedResNet(depth, deep_stem=deep_stem, output_stride=output_stride)
    if pretrained:
        load_imagenet(backbone, depth=depth, deep_stem=deep_stem)
    return FCN(backbone, num_classes, head_dilation=head_dilation, dropout=dropout, align_corners=align_corners)
