"""How much is rendered: the named profiles, and the options beyond them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """Size of a data set.

    Attributes:
        size: width and height of the pictures, px.
        training_views: number of pictures of the intact object alone.
        training_samples: light paths per pixel; alpha is not denoised, so not below 16.
        test_samples: light paths per pixel of the pictures on the conveyor.
        recoloured, removed, added, intact: number of test objects with this defect, or none.
        views: pictures of each object.
        validation: number of intact objects for commissioning images.
        min_visible_views: views in which a defect must be seen to be accepted.
        min_visible_share: share of the picture that it must cover there.
        min_change: mean colour change in the mask there, Delta E; 0 accepts hard cases.
    """

    size: int
    training_views: int
    training_samples: int
    test_samples: int
    recoloured: int
    removed: int
    added: int
    intact: int
    views: int
    validation: int = 0
    min_visible_views: int = 3
    min_visible_share: float = 25 / 200**2
    min_change: float = 0.0

    @property
    def kinds(self) -> list[str]:
        """Defect of each test object in order, 'good' for an intact one."""
        return (
            ['recolour'] * self.recoloured
            + ['removed'] * self.removed
            + ['added'] * self.added
            + ['good'] * self.intact
        )


PROFILES = {
    # for tests: one class in a few minutes
    'tiny': Profile(200, 24, 16, 4, 1, 1, 1, 1, 3, min_visible_views=2),
    # the composition of `paper` at half the size
    'small': Profile(400, 100, 16, 8, 2, 2, 3, 6, 9),
    'paper': Profile(800, 100, 16, 16, 2, 2, 3, 6, 9),
    # test pictures alone, to choose options on: other defects and poses with another --seed
    'development': Profile(400, 0, 16, 4, 3, 3, 4, 6, 6),
    # what the repository's demo uses: few objects, defects that a person sees at once
    'demo': Profile(
        400,
        80,
        16,
        16,
        1,
        1,
        2,
        4,
        3,
        validation=4,
        min_visible_views=2,
        min_visible_share=0.003,
        min_change=20.0,
    ),
}


@dataclass(frozen=True)
class Options:
    """What the published data set does not have; all off by default.

    Attributes:
        lighting: vary lamps from object to object, up to this share (0.3 = 70% to 130%).
        looks: number of floor and belt looks to draw from.
        upright: objects stand upright only.
        cameras: fixed cameras around the belt, as on a line; 0 = a new ring for each object.
        noise: standard deviation of the sensor noise at white, of 255.
        blur: standard deviation of the defocus, px.
        jpeg: JPEG quality that the test pictures went through, 0 = none.
        validation: commissioning images of this many intact objects; None = as the profile says.
    """

    lighting: float = 0.0
    looks: int = 1
    upright: bool = False
    cameras: int = 0
    noise: float = 0.0
    blur: float = 0.0
    jpeg: int = 0
    validation: int | None = None
