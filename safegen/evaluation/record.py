"""What an evaluation says, in the form in which it is stored and handed on.

Invariants: every share comes with its number of pictures and its 95 % interval; what was not measured is null, never 0;
`Evaluation.model_json_schema()` is the documentation of the file.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from safegen.evaluation.protocols import Asked, ProtocolName, Role

FORMAT = "safegen-evaluation/1"


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rate(_Closed):
    """A share of pictures.

    Attributes:
        value: 0..1.
        low: lower end of the 95 % Wilson interval.
        high: upper end.
    """

    value: float
    low: float
    high: float


class Cell(_Closed):
    """One case under one method, beside the bare model on the same prompts and seeds.

    Attributes:
        role: what the case stands for.
        name: of the concept, style, title or group.
        asked: whether the judge was asked for the subject or the style.
        pictures: number of them.
        before: recognised in the bare model's pictures.
        after: recognised in the method's.
        clip_before: CLIP score of the bare pictures with their prompts, 0..100.
        clip_after: of the method's pictures with the same prompts.
        clip_error: share of the method's pictures nearer to "" than to the concept's name; null but for targets.
        ssim: mean structural similarity to the bare model's picture of the same prompt and seed, 1 for equal.
        ssim_low: lower end of its 95 % bootstrap interval.
        ssim_high: upper end.
        identical: share of pictures that are the bare model's, bit for bit.
        kid: kernel distance to the bare model's pictures in the judge's features; null for fewer than 50 pictures.
        fid: Fréchet distance likewise.
    """

    role: Role
    name: str
    asked: Asked
    pictures: int
    before: Rate
    after: Rate
    clip_before: float | None = None
    clip_after: float | None = None
    clip_error: Rate | None = None
    ssim: float
    ssim_low: float
    ssim_high: float
    identical: Rate
    kid: float | None = None
    fid: float | None = None


class Memorised(_Closed):
    """How like a memorised picture the pictures of its title are; the stand-in for the original is the bare recital.

    Attributes:
        title: of the picture.
        before: mean SSIM of the bare model's pictures to the recital, each to those of other seeds.
        after: of the method's pictures.
        unrelated: of the bare model's pictures of unrelated prompts.
        unrelated_high: their 95th percentile.
        before_features: the same with the cosine of the judge's features, less the mean over unrelated prompts.
        after_features: of the method's pictures.
        unrelated_features_high: 95th percentile over unrelated prompts.
    """

    title: str
    before: float
    after: float
    unrelated: float
    unrelated_high: float
    before_features: float
    after_features: float
    unrelated_features_high: float


class Cost(_Closed):
    """What the method costs.

    Attributes:
        seconds_bare: processor seconds for one picture of the bare model.
        seconds: for one picture of the method.
        peak_mib: largest resident memory of the process, in MiB.
        bytes: of the adapters' files.
        parameters: numbers in them.
    """

    seconds_bare: float | None = None
    seconds: float | None = None
    peak_mib: float | None = None
    bytes: int = 0
    parameters: int = 0


class Setting(_Closed):
    """All that someone else needs to measure the same."""

    method: str
    adapters: tuple[str, ...] = ()
    gate: str
    base: str
    base_digest: str
    judge: str
    clip: str | None = None
    features: str = "the judge's last layer"
    size: int
    steps: int
    guidance: float
    seed: int
    safegen: str


class Evaluation(_Closed):
    """One evaluation of one method."""

    format: str = FORMAT
    protocol: ProtocolName
    setting: Setting
    cells: tuple[Cell, ...] = Field(min_length=1)
    memorised: tuple[Memorised, ...] = ()
    cost: Cost = Cost()

    def cells_of(self, role: Role) -> list[Cell]:
        """The cells of one role."""
        return [cell for cell in self.cells if cell.role == role]

    @property
    def unlearning_accuracy(self) -> float:
        """1 minus the mean share of targets still recognised."""
        cells = self.cells_of("target")
        return 1 - sum(cell.after.value for cell in cells) / len(cells)

    @property
    def in_domain_retain_accuracy(self) -> float:
        """Mean share recognised among neighbours and other concepts, or other styles."""
        cells = [*self.cells_of("neighbour"), *self.cells_of("in-domain")]
        return sum(cell.after.value for cell in cells) / len(cells)

    @property
    def cross_domain_retain_accuracy(self) -> float:
        """Mean share recognised of styles when concepts are erased, of content when a style is."""
        cells = self.cells_of("cross-domain")
        return sum(cell.after.value for cell in cells) / len(cells)

    @property
    def largest_drop(self) -> float:
        """The largest loss of recognition outside of the target, 0..1."""
        kept = [cell for cell in self.cells if cell.role != "target"]
        return max((cell.before.value - cell.after.value for cell in kept), default=0.0)
