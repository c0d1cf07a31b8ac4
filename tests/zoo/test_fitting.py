"""Weights fill a row's network exactly, or a network that is to be trained as far as they go; misfits are refused in words."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fcn_lightning import zoo
from fcn_lightning.models.fcn import FCN, fcn
from fcn_lightning.zoo import recipes
from fcn_lightning.zoo.weights import Weights, load_exactly, open_weights, start_from
from tests.zoo.published import ROW, State, assert_equal, random_state, refusal

AUXILIARY = "auxiliary_head."
CONTEXT = "fcn_r101-d8_480x480_40k_pascal_context"


@pytest.fixture(scope="module")
def state() -> State:
    return random_state(zoo.build(ROW))


def in_memory(state: dict[str, Tensor]) -> Weights:
    return Weights(Path("w.pth"), "0" * 64, None, False, state, None)


# A row


def test_weights_of_another_network_are_refused(state: State) -> None:
    text = refusal(load_exactly, zoo.build(ROW), in_memory(random_state(fcn(19, depth=18, deep_stem=False))), recipes.row(ROW))
    problem = "15 tensors missing, first backbone.stem.0.weight and 6 tensors not known, first backbone.conv1.weight"
    assert text == f"w.pth does not fit the row {ROW}: {problem}; give the weights of that row"
    r50 = refusal(load_exactly, fcn(19, depth=50, deep_stem=True), in_memory(state), recipes.row(ROW))
    assert "tensors missing, first backbone.layer1.0.conv3.weight" in r50


def test_another_number_of_classes_is_refused() -> None:
    text = refusal(load_exactly, zoo.build(ROW), in_memory(random_state(fcn(150, depth=18, deep_stem=True))), recipes.row(ROW))
    assert f"does not fit the row {ROW}: it has 150 classes, expected 19; give the weights of that row" in text


@pytest.mark.parametrize(
    ("key", "shape", "words"),
    [
        ("decode_head.convs.0.bn.weight", (64,), "has the shape (64,), expected (128,)"),
        ("decode_head.conv_seg.weight", (), "has the shape (), expected (19, 128, 1, 1)"),
        ("decode_head.conv_seg.bias", (150,), "has the shape (150,), expected (19,)"),
        ("auxiliary_head.conv_seg.weight", (), "has the shape (), expected (19, 64, 1, 1)"),
        ("auxiliary_head.conv_seg.weight", (60, 64, 1, 1), "has the shape (60, 64, 1, 1), expected (19, 64, 1, 1)"),
    ],
)
def test_another_shape_is_refused(state: State, key: str, shape: tuple[int, ...], words: str) -> None:
    text = refusal(load_exactly, zoo.build(ROW), in_memory(state | {key: torch.zeros(shape)}), recipes.row(ROW))
    assert text == f"w.pth does not fit the row {ROW}: {key} {words}; give the weights of that row"


def test_the_classifier_and_every_tensor_of_the_main_path_have_to_be_there(state: State) -> None:
    for key in ("decode_head.conv_seg.weight", "decode_head.conv_seg.bias", "backbone.layer4.1.bn2.running_var"):
        kept = {name: value for name, value in state.items() if name != key}
        assert f"1 tensors missing, first {key}" in refusal(load_exactly, zoo.build(ROW), in_memory(kept), recipes.row(ROW))
    more = state | {"decode_head.conv_seg.scale": torch.zeros(1)}
    assert "1 tensors not known, first decode_head.conv_seg.scale" in refusal(
        load_exactly, zoo.build(ROW), in_memory(more), recipes.row(ROW)
    )


@pytest.fixture(scope="module")
def context_model() -> FCN:
    """The network of the four R-101 rows of Pascal Context."""
    return zoo.build(CONTEXT)


def constants(model: nn.Module, auxiliary_classes: int) -> dict[str, Tensor]:
    """One number for each tensor, which takes no memory; the auxiliary classifier has a width of its own."""
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    for key in ("auxiliary_head.conv_seg.weight", "auxiliary_head.conv_seg.bias"):
        shapes[key] = torch.Size([auxiliary_classes, *shapes[key][1:]])
    return {key: torch.tensor(float(index)).expand(shape) for index, (key, shape) in enumerate(shapes.items(), start=2)}


@pytest.mark.parametrize("length", ["40k", "80k"])
@pytest.mark.parametrize(("later", "classes"), [("", 19), ("_20210421", 60), ("", 60)], ids=["2020", "2021", "2020 with 60"])
def test_the_rows_of_pascal_context_load(context_model: FCN, length: str, later: str, classes: int) -> None:
    given = constants(context_model, classes)
    for parameter in context_model.state_dict().values():
        parameter.zero_()
    load_exactly(context_model, in_memory(given), recipes.row(CONTEXT.replace("40k", length) + later))
    for key, value in context_model.state_dict().items():
        kept = classes == 60 or not key.startswith("auxiliary_head.conv_seg")
        assert (value == (given[key].flatten()[0] if kept else 0)).all(), key


@pytest.mark.parametrize(("later", "classes"), [("_20210421", 19), ("", 21), ("", 59)])
def test_another_auxiliary_classifier_is_refused_in_the_rows_of_pascal_context(
    context_model: FCN, later: str, classes: int
) -> None:
    text = refusal(load_exactly, context_model, in_memory(constants(context_model, classes)), recipes.row(CONTEXT + later))
    assert f"auxiliary_head.conv_seg.weight has the shape ({classes}, 256, 1, 1), expected (60, 256, 1, 1)" in text


# Starting a training


def filled(model: FCN, weights: Weights) -> tuple[str, dict[str, Tensor], dict[str, Tensor]]:
    """Start from weights; return the words, and the network's tensors before and after."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    return start_from(model, weights), before, model.state_dict()


def test_the_same_number_of_classes_keeps_all(state: State) -> None:
    text, _, after = filled(zoo.build(ROW), in_memory(state))
    assert_equal(after, state)
    assert text == "160 of 160 tensors kept, unverified: the file's name carries no hash"


def test_another_number_of_classes_keeps_all_but_the_classifiers(state: State) -> None:
    text, before, after = filled(fcn(5, depth=18, deep_stem=True), in_memory(state))
    starts_anew = {f"{head}.conv_seg.{kind}" for head in ("decode_head", "auxiliary_head") for kind in ("weight", "bias")}
    assert_equal(after, {key: before[key] if key in starts_anew else state[key] for key in before})
    assert text.startswith("156 of 160 tensors kept, unverified")
    assert text.endswith("; both classifiers start anew (19 classes -> 5)")


@pytest.mark.parametrize("classes", [19, 5])
def test_a_start_without_the_auxiliary_head(state: State, classes: int) -> None:
    kept = {key: value for key, value in state.items() if not key.startswith(AUXILIARY)}
    text, before, after = filled(fcn(classes, depth=18, deep_stem=True), in_memory(kept))
    anew = () if classes == 19 else ("decode_head.conv_seg.weight", "decode_head.conv_seg.bias")
    assert_equal(after, {key: before[key] if key in anew else kept.get(key, before[key]) for key in before})
    assert text.startswith(f"{152 - len(anew)} of 160 tensors kept")


def test_a_start_with_an_auxiliary_classifier_of_19_classes() -> None:
    given = random_state(fcn(60, depth=18, deep_stem=True))
    given |= {"auxiliary_head.conv_seg.weight": torch.ones(19, 64, 1, 1), "auxiliary_head.conv_seg.bias": torch.ones(19)}
    text, before, after = filled(fcn(60, depth=18, deep_stem=True), in_memory(given))
    assert_equal(after, {key: (before if key.startswith("auxiliary_head.conv_seg") else given)[key] for key in before})
    assert text.startswith("158 of 160 tensors kept")
    assert text.endswith("; the auxiliary classifier starts anew")


def test_a_start_from_another_network_is_refused(state: State) -> None:
    text = refusal(start_from, fcn(19, depth=18, deep_stem=False), in_memory(state))
    assert "w.pth does not fit this network: 5 tensors missing, first backbone.conv1.weight" in text
    assert text.endswith("; choose the backbone and head of the weights, or other weights")
    scalar = state | {"decode_head.conv_seg.weight": torch.tensor(1.0)}
    assert "decode_head.conv_seg.weight has the shape ()" in refusal(start_from, zoo.build(ROW), in_memory(scalar))


def test_a_start_from_a_checkpoint_of_a_run(trained: Path) -> None:
    weights = open_weights(trained / "checkpoints/best.ckpt")
    model = fcn(9, depth=18, deep_stem=False)
    assert start_from(model, weights) == "148 of 148 tensors kept, a checkpoint of this package"
    assert_equal(model.state_dict(), weights.state)
