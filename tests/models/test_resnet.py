"""The backbone against torchvision's own network."""

import pytest
import torch
import torchvision

from fcn_lightning.models.resnet import DilatedResNet


@pytest.mark.parametrize("depth", [50, 101])
def test_plain_stem_equals_torchvision_bit_for_bit(depth: int) -> None:
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, f"resnet{depth}")(replace_stride_with_dilation=[False, True, True]).eval()
    ours = DilatedResNet(depth, deep_stem=False, output_stride=8).eval()
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not missing
    assert set(unexpected) == {"fc.weight", "fc.bias"}
    image = torch.randn(1, 3, 65, 97)
    with torch.no_grad():
        last = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
        for stage in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
            last = stage(last)
        assert torch.equal(ours(image)[3], last)


@pytest.mark.parametrize("size", [(65, 97), (64, 96)])
def test_dilation_keeps_the_undilated_network(size: tuple[int, int]) -> None:
    # Every fourth row and column of the dilated stage 4 is the undilated one; fails if the first block's dilation is wrong.
    torch.manual_seed(0)
    plain = torchvision.models.resnet50().double().eval()
    features = {}
    for stride in (8, 16):
        ours = DilatedResNet(50, deep_stem=False, output_stride=stride).double().eval()
        ours.load_state_dict(plain.state_dict(), strict=False)
        with torch.no_grad():
            features[stride] = ours(torch.ones(1, 3, *size).double().cumsum(2).cumsum(3) % 7)[3]
    with torch.no_grad():
        x = torch.ones(1, 3, *size).double().cumsum(2).cumsum(3) % 7
        x = plain.maxpool(plain.relu(plain.bn1(plain.conv1(x))))
        for stage in (plain.layer1, plain.layer2, plain.layer3, plain.layer4):
            x = stage(x)
    torch.testing.assert_close(features[8][:, :, ::4, ::4], x, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(features[16][:, :, ::2, ::2], x, rtol=1e-10, atol=1e-10)


def test_r18_dilates_the_first_convolution_only() -> None:
    net = DilatedResNet(18, deep_stem=True, output_stride=8)
    dilations = [[(block.conv1.dilation[0], block.conv2.dilation[0]) for block in stage] for stage in (net.layer3, net.layer4)]
    assert dilations == [[(1, 1), (2, 1)], [(2, 1), (4, 1)]]


def test_random_start_follows_the_reference() -> None:
    net = DilatedResNet(50, deep_stem=True, output_stride=8)
    assert all((block.bn3.weight == 0).all() for stage in (net.layer1, net.layer2, net.layer3, net.layer4) for block in stage)
    for conv in (net.stem[3], net.layer4[1].conv2):
        fan_out = conv.out_channels * conv.kernel_size[0] * conv.kernel_size[1]
        assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
