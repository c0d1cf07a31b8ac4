"""ImageNet weights for the backbone: which file belongs to which, and how it is loaded."""

import logging
from collections.abc import Mapping

from torch import nn
from torchvision.models import ResNet18_Weights, ResNet50_Weights, ResNet101_Weights

from fcn_lightning import InputError
from fcn_lightning.models.torch_files import is_plain, read_inert
from fcn_lightning.models.weight_files import cached

log = logging.getLogger(__name__)

# The files that the published rows started from. The deep stem has its own; the plain stem uses torchvision's first (V1)
# weights, never V2. The last eight characters of each name are the start of the file's SHA-256.
V1C_FOLDER = "https://download.openmmlab.com/pretrain/third_party"
IMAGENET_URLS = {
    (18, True): f"{V1C_FOLDER}/resnet18_v1c-b5776b93.pth",
    (50, True): f"{V1C_FOLDER}/resnet50_v1c-2cccc1ad.pth",
    (101, True): f"{V1C_FOLDER}/resnet101_v1c-e67eebb6.pth",
    (18, False): ResNet18_Weights.IMAGENET1K_V1.url,
    (50, False): ResNet50_Weights.IMAGENET1K_V1.url,
    (101, False): ResNet101_Weights.IMAGENET1K_V1.url,
}


def load_imagenet(backbone: nn.Module, *, depth: int, deep_stem: bool) -> None:
    """Load ImageNet weights, BatchNorm statistics included, into the backbone.

    The file is taken from torch.hub's cache, or downloaded into it; its hash is checked either way.

    Args:
        backbone: a `DilatedResNet`.
        depth: 18, 50 or 101.
        deep_stem: which of the two stems the backbone has.

    Raises:
        InputError: the file cannot be fetched, is not the published one, or does not fit the backbone.
    """
    try:
        path = cached(IMAGENET_URLS[depth, deep_stem])
    except InputError as error:
        raise InputError(f"{error}, or start from random weights with model.pretrained=false") from error
    file = read_inert(path)
    state = file.get("state_dict", file)
    if not isinstance(state, Mapping) or not all(map(is_plain, state.values())):
        raise InputError(f"{path} holds no weights; delete it so that it is fetched again, or set model.pretrained=false")
    own = backbone.state_dict()
    shaped = [key for key in state if key in own and state[key].shape != own[key].shape]
    if shaped:
        raise InputError(
            f"{path} does not fit a ResNet-{depth}: {shaped[0]} has the shape {tuple(state[shaped[0]].shape)}; "
            "delete it so that it is fetched again, or set model.pretrained=false"
        )
    missing, unexpected = backbone.load_state_dict(state, strict=False)
    # Old files lack the step counters, which nothing reads; `fc` is the ImageNet classifier.
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    unexpected = [key for key in unexpected if not key.startswith("fc.")]
    if missing or unexpected:
        raise InputError(
            f"{path} does not fit a ResNet-{depth}: missing {missing[:3]}, not known {unexpected[:3]}; "
            "delete it so that it is fetched again, or set model.pretrained=false"
        )
    log.info("ImageNet weights: %s, all %d backbone tensors matched", path.name, len(own))
