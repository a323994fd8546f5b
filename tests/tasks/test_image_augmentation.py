"""How training images vary: a pure function of the draw; each change against a hand-made image."""

import itertools

import numpy as np
import pytest
import torch
from example_image_files import everything, prepare
from torch import Tensor

from thrifty.config.choices.tasks import AUGMENTATIONS
from thrifty.tasks import image_randaugment
from thrifty.tasks.image_augmentation import Augmentation, border_colour, uniform
from thrifty.tasks.image_geometry import cut, mirrored, sampled, shifted

BLACK = torch.zeros(1, 1, 1)


def square(side: int = 4) -> Tensor:
    """One image whose pixels all differ."""
    return (torch.arange(side * side) / (side * side)).view(1, 1, side, side)


# -- what is drawn ----------------------------------------------------------------------------------------------------


def test_numbers_are_uniform_independent_and_those_of_their_draw() -> None:
    draws = torch.arange(20_000)
    first, second = uniform(draws, 0, (0, 1))
    for one in (first, second):
        assert (one.min() >= 0, one.max() < 1) == (True, True)
        assert np.histogram(one, 20, (0, 1))[0] == pytest.approx(1000, abs=5 * 1000**0.5)
    together = torch.stack([first[:-1], first[1:], second[:-1], uniform(draws, 1, (0,))[0][:-1]])
    assert (torch.corrcoef(together) - torch.eye(4)).abs().max() < 0.03
    assert torch.equal(uniform(draws[[7, 4]], 0, (1,))[0], second[[7, 4]])
    assert uniform(torch.tensor([2**40]), 2**31, (3,))[0].item() < 1


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_a_draw_gives_the_same_image_whatever_the_batch(augment: str) -> None:
    data = prepare(augment=augment)
    n = data.sizes["train"]
    draws = torch.tensor([3, n + 3, 2 * n + 3, 2 * n + 4, 7 * n - 1, 2 * n + 3, 2 * n])
    inputs, targets = data.batch("train", draws)
    for place, draw in enumerate(draws[1:], start=1):
        alone, target = data.batch("train", draw.view(1))
        # Summed in another order, numbers may differ in the last place.
        torch.testing.assert_close(alone[0], inputs[place], rtol=1e-5, atol=1e-5)
        assert torch.equal(target[0], targets[place])
    assert torch.equal(inputs[2], inputs[5])
    assert not torch.equal(prepare(augment=augment, split_seed=0).batch("train", draws)[0], prepare().batch("train", draws)[0])


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_only_training_from_its_second_epoch_on_is_varied(augment: str) -> None:
    data, plain = prepare(augment=augment), prepare()
    for split, epoch in itertools.product(("validation", "test"), (0, 1, 5)):
        assert torch.equal(everything(data, split, epoch)[0], everything(plain, split)[0])
    inputs, targets = everything(data, "train")
    assert torch.equal(inputs, everything(plain, "train")[0])
    assert torch.equal(targets, everything(plain, "train")[1])
    n = data.sizes["train"]
    over_the_end, _ = data.batch("train", torch.tensor([n - 2, n - 1, n, n + 1]))
    torch.testing.assert_close(over_the_end[:2], inputs[-2:], rtol=0, atol=1e-5)
    seen = [everything(data, "train", epoch)[0] for epoch in (1, 2)]
    assert (seen[0] != seen[1]).flatten(1).any(1).float().mean() > 0.3
    assert (seen[0] != inputs).flatten(1).any(1).float().mean() > 0.3
    assert data.state() == plain.state()
    assert data.about[-1].startswith("training images are ")


# -- geometry ---------------------------------------------------------------------------------------------------------


def test_shifting_moves_whole_pixels_and_fills_with_the_background() -> None:
    image = torch.tensor([[1.0, 2, 3], [4, 5, 6]]).view(1, 1, 2, 3)
    images, nine = image.expand(4, 1, 2, 3), torch.full((1, 1, 1), 9.0)
    found = shifted(images, torch.tensor([0, 1, 0, -1]), torch.tensor([0, 0, 2, -1]), (1, 2), nine)
    assert found[:, 0].tolist() == [
        [[1, 2, 3], [4, 5, 6]], [[9, 9, 9], [1, 2, 3]], [[9, 9, 1], [9, 9, 4]], [[5, 6, 9], [9, 9, 9]],
    ]  # fmt: skip


def test_shifts_reach_an_eighth_of_a_side_each_as_often() -> None:
    dots = torch.zeros(9000, 1, 16, 9)
    dots[:, :, 8, 4] = 1
    shown = Augmentation(["shift"], 1, 0, torch.zeros(1))(dots, torch.arange(1, 9001))
    rows, columns = shown[:, 0].amax(2).argmax(1) - 8, shown[:, 0].amax(1).argmax(1) - 4
    assert np.bincount(rows + 2) == pytest.approx([1800] * 5, rel=0.1)
    assert np.bincount(columns + 1) == pytest.approx([3000] * 3, rel=0.1)


def test_flipping_mirrors_half_of_the_images() -> None:
    images = torch.tensor([[1.0, 2], [3, 4]]).expand(2, 1, 2, 2)
    assert mirrored(images, torch.tensor([True, False]))[:, 0].tolist() == [[[2, 1], [4, 3]], [[1, 2], [3, 4]]]
    shown = Augmentation(["flip"], 1, 0, torch.zeros(1))(images[:1].expand(4000, 1, 2, 2), torch.arange(1, 4001))
    assert (shown[:, 0, 0, 0] == 2).float().mean().item() == pytest.approx(0.5, abs=0.04)


def test_cutting_scales_a_part_to_the_whole() -> None:
    image, half = square(4), torch.tensor([0.5])
    whole = cut(image, *torch.tensor([[0.0], [0.0], [1.0], [1.0]]), BLACK)
    torch.testing.assert_close(whole, image)
    # The lower right quarter, its 2x2 pixels 10 11 14 15 spread over 4x4: inside the corners each lies a quarter off.
    part = cut(image, half, half, half, half, BLACK)[0, 0] * 16
    assert part[1, 1].item() == pytest.approx(10.25 + 1)
    assert part[2, 2].item() == pytest.approx(14.75 - 1)


def test_cut_outside_nothing_but_the_image_is_seen() -> None:
    white = torch.ones(500, 1, 8, 8)
    shown = Augmentation(["crop"], 1, 0, torch.ones(1))(white, torch.arange(1, 501))
    torch.testing.assert_close(shown, white)


def test_the_border_colour_is_the_median_of_the_rim() -> None:
    images = torch.full((3, 2, 4, 4), 200, dtype=torch.uint8)
    images[:, 0, 1:-1, 1:-1] = 7  # what is inside does not count
    images[:, 1] = 50
    images[0, 1, 0] = 250
    assert border_colour(images).tolist() == [200, 50]


def test_a_light_background_comes_in_light(tmp_path: object) -> None:
    data = prepare(augment="shift")
    assert data.augmentation is not None
    assert data.augmentation.background.item() == 0  # digits are light on dark


# -- randaugment ------------------------------------------------------------------------------------------------------


def change(name: str, image: Tensor, sign: float = 1.0) -> Tensor:
    function = getattr(image_randaugment, name)
    if function.__code__.co_argcount == 2:
        return function(image, torch.full((len(image),), sign))
    return function(image, torch.full((len(image),), sign), torch.zeros(image.shape[1], 1, 1))


def test_there_are_the_paper_s_fourteen_changes_each_as_often() -> None:
    assert len(image_randaugment.CHANGES) == 14
    dots = torch.rand(1, 3, 8, 8).expand(200, 3, 8, 8)
    which = torch.arange(200) % 14
    shown = image_randaugment.randaugment(dots, which, torch.ones(200), torch.zeros(3, 1, 1))
    assert torch.equal(shown[0], dots[0])
    different = {which[place].item() for place in range(14) if not torch.equal(shown[place], dots[place])}
    assert different == set(range(1, 14))
    assert torch.equal(shown[:14], shown[14:28])
    assert (shown >= 0).all()
    assert (shown <= 1).all()


def test_changes_of_brightness_by_hand() -> None:
    image = torch.tensor([0.1, 0.3, 0.5, 0.9]).view(1, 1, 2, 2)
    factor = 1.27  # 1 + 0.9 * 9 / 30
    assert change("_brightened", image).flatten().tolist() == pytest.approx(
        [0.1 * factor, 0.3 * factor, 0.5 * factor, 0.9 * factor]
    )
    contrasted = [0.45 + (one - 0.45) * 0.73 for one in (0.1, 0.3, 0.5, 0.9)]
    assert change("_contrasted", image, -1.0).flatten().tolist() == pytest.approx(contrasted)
    assert change("_inverted_above", image).flatten().tolist() == pytest.approx([0.1, 0.3, 0.5, 0.1])
    assert change("_stretched", image).flatten().tolist() == pytest.approx([0, 0.25, 0.5, 1])
    assert torch.equal(change("_stretched", image * 0 + 0.4), image * 0 + 0.4)
    assert (change("_posterised", torch.tensor([0.0, 1, 2, 3, 255]).view(1, 1, 1, 5) / 255) * 255).round().flatten().tolist() == [
        0, 0, 2, 2, 254,
    ]  # fmt: skip
    # Levels 25.5 -> 26, 76, 128, 230, one pixel each: the darkest to 0, the others a third further each.
    assert change("_equalised", image).flatten().tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert torch.equal(change("_equalised", image * 0 + 0.4), image * 0 + 0.4)


def test_saturation_moves_from_and_to_grey() -> None:
    image = torch.tensor([1.0, 0.0, 0.5]).view(1, 3, 1, 1)
    grey = 0.299 + 0.5 * 0.114
    assert change("_saturated", image, -1.0).flatten().tolist() == pytest.approx(
        [grey + (one - grey) * 0.73 for one in (1, 0, 0.5)]
    )
    assert torch.equal(change("_saturated", torch.rand(2, 1, 3, 3)), change("_as_it_is", torch.rand(2, 1, 3, 3))) is False
    one_channel = torch.rand(2, 1, 3, 3)
    torch.testing.assert_close(change("_saturated", one_channel), one_channel)


def test_sharpening_by_hand() -> None:
    image = torch.zeros(1, 1, 3, 3)
    image[..., 1, 1] = 1  # smooth: 5/13
    assert change("_sharpened", image)[0, 0, 1, 1].item() == pytest.approx(5 / 13 + (1 - 5 / 13) * 1.27)
    assert change("_sharpened", image)[0, 0, 0, 0].item() == 0


def test_transparency_is_not_coloured() -> None:
    images = torch.rand(14, 4, 6, 6)
    shown = image_randaugment.randaugment(images, torch.arange(14), -torch.ones(14), torch.zeros(4, 1, 1))
    assert torch.equal(shown[6:, 3], images[6:, 3])


def test_turning_and_moving_by_hand() -> None:
    dot = torch.zeros(1, 1, 331, 331)
    dot[..., 165, 265] = 1  # 100 pixels right of the middle
    row, column = divmod(int(change("_turned", dot).argmax()), 331)
    angle = np.radians(9)
    assert (abs(row - 165), column) == (
        pytest.approx(100 * np.sin(angle), abs=1),
        pytest.approx(165 + 100 * np.cos(angle), abs=1),
    )
    assert int(change("_moved_across", dot).argmax()) == 165 * 331 + 265 - 45  # 150 pixels * 9 / 30
    assert int(change("_moved_down", dot, -1.0).argmax()) == (165 + 45) * 331 + 265
    row, column = divmod(int(change("_sheared_down", dot).argmax()), 331)
    assert (row, column) == (165 - 9, 265)  # 100 * 0.3 * 9 / 30


def test_turning_an_oblong_image_keeps_lengths() -> None:
    dot = torch.zeros(1, 1, 101, 201)
    dot[..., 50, 180] = 1
    row, column = divmod(int(change("_turned", dot).argmax()), 201)
    assert np.hypot(row - 50, column - 100) == pytest.approx(80, abs=1)


def test_sampling_where_nothing_moves_changes_nothing() -> None:
    images = torch.rand(2, 3, 5, 7)
    still = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(2, 2, 3)
    torch.testing.assert_close(sampled(images, still, torch.full((3, 1, 1), 0.5)), images)


# -- mixup ------------------------------------------------------------------------------------------------------------


def test_mixed_images_and_targets_are_of_the_same_shares() -> None:
    data, plain = prepare(augment="mixup"), prepare()
    assert data.augmentation is not None
    n = data.sizes["train"]
    draws = torch.arange(n, 3 * n)
    inputs, targets = data.batch("train", draws)
    partners, shares = data.augmentation.partners(draws)
    own, other = plain.batch("train", draws), plain.batch("train", partners)
    torch.testing.assert_close(inputs, other[0] + shares.view(-1, 1, 1, 1) * (own[0] - other[0]), rtol=0, atol=1e-5)
    assert (targets.dtype, targets.shape) == (torch.float32, (2 * n, 10))
    torch.testing.assert_close(targets.sum(1), torch.ones(2 * n))
    alike = own[1] == other[1]
    torch.testing.assert_close(targets[torch.arange(2 * n), own[1]], torch.where(alike, 1.0, shares))
    assert torch.equal(partners // n, draws // n)
    assert len((partners % n).unique()) > 0.8 * n
    # Beta(0.2, 0.2): its mean is a half, its variance 1 / (4 * 1.4).
    assert shares.mean().item() == pytest.approx(0.5, abs=0.03)
    assert shares.var().item() == pytest.approx(0.1786, abs=0.01)


def test_a_loss_on_mixed_targets_can_be_learned_from() -> None:
    data = prepare(augment=["shift", "mixup"])
    n = data.sizes["train"]
    _, targets = data.batch("train", torch.arange(n, n + 6).view(2, 3))
    assert targets.shape == (2, 3, 10)
    outputs = torch.zeros(2, 3, 10, requires_grad=True)
    loss = data.loss(outputs, targets, 0.1)
    assert loss.item() == pytest.approx(np.log(10), rel=1e-5)
    loss.backward()
    assert outputs.grad is not None
