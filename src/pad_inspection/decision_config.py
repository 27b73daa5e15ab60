"""Rules from image scores to verdicts: those of the integrator, beside the calibration."""

from __future__ import annotations

from dataclasses import dataclass

from pad_inspection.checked_options import CheckedOptions, option


@dataclass(frozen=True)
class DecisionConfig(CheckedOptions):
    """From image scores to verdicts."""

    min_inspected_fraction: float = option(
        0.95, 'of a view with less of the object in the image only part counts', low=0.0, high=1.0
    )
    min_views: int = option(
        0,
        'judged views that an object needs to PASS. 0: all that are expected, but for those that '
        'min_coverage makes up for; else so many are enough. A view that nobody looked at (late, '
        'dropped, invalid, failed) always rejects',
        low=0,
        high=1000,
    )
    min_coverage: float = option(
        0.95,
        'views that were not localised, or show part of the object, are made up for where the '
        "others saw this share of the surface that the model's own views see",
        low=0.0,
        high=1.0,
        as_before=True,
    )
    reject_share: float = option(
        0.66,
        'when this share of its judged views rejects, so is the object; 0 = only its score counts',
        low=0.0,
        high=1.0,
        as_before=True,
    )
    max_false_reject_rate: float = option(
        0.05, 'wanted share of good pieces rejected; fixes the threshold', low=1e-4, high=0.5
    )
    worst_share: float = option(
        0.34,
        'the worst views of an object, this share of all and at least one, decide by their mean; '
        '0 = the worst one alone',
        low=0.0,
        high=1.0,
    )
    single_view_weight: float = option(
        0.6, 'the worst view alone decides by its score times this', low=0.0, high=1.0
    )
    margin: float = option(
        1.0, 'the calibrated threshold is multiplied by this', low=0.1, high=10.0
    )
    reject_undetermined: bool = option(True, 'an object that cannot be judged is rejected')

    def check(self) -> None:
        """Check that the rules go together.

        Raises:
            ValueError: which do not.
        """
        if self.worst_share >= 1.0 and not self.single_view_weight and not self.reject_share:
            raise ValueError(
                'decision.worst_share is 1, single_view_weight and reject_share are 0: good views '
                'of an object would make up for any defect; wanted one of them otherwise'
            )
