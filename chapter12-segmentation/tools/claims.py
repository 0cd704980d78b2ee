"""What overviews say of the networks, and whether what was measured agrees.

Each claim names two networks of the comparison and what is to differ between them; `RULE` tells
how that is decided. With equal networks it is wrong once in twenty times; what one network says in
two ways, which is compared seed by seed, is wrong once in twelve.
"""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """A sentence of the overviews, as a comparison of two networks.

    Attributes:
        method: that it is said of.
        text: what is said.
        one, other: the networks that decide it.
        by: the column of the comparison that is looked at, in `one`.
        other_by: that of `other`, if it is another.
        expected: ">" where `one` has more of it, "<" less, "=" where neither does.
        slack: a difference that is not called one, besides that between seeds.
    """

    method: str
    text: str
    one: str
    other: str
    by: str
    expected: str = ">"
    other_by: str | None = None
    slack: float = 0.0

    def sides(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """Both networks, each with its column."""
        return (self.one, self.by), (self.other, self.other_by or self.by)


MIOU, EDGES, COST = "dataset_miou", "boundary_f1", "gmac"
CRF_MIOU, CRF_EDGES = "crf_dataset_miou", "crf_boundary_f1"  # behind a dense CRF
LARGE, SMALL = "large_iou", "small_iou"  # of what has much of its picture, or little
SMALL_SHARE = "small_share"  # the latter over the former
HALF, DOUBLE = "half_miou", "double_miou"  # of pictures at another size than those of training
PRUNED_MIOU, PRUNED_COST = "pruned_miou", "pruned_gmac"  # of a UNet++ cut off behind a head
HALF_WAY = "half_way_miou"  # on validation, after half of the epochs
GRADIENT = "gradient_share"  # of the backbone's end, per that of the classifier
RIM = "rim_miou"  # of the pixels near the sides of a picture
PATCHES = "patches_gmac"  # of the classifier of patches, moved over every pixel
WHOLE = "whole_kernels_gmac"  # of a GCN whose large kernels are not cut into columns and rows
ANSWER = "seconds_a_picture"
PHOTO, CRF_PHOTO = "seconds_a_photo", "crf_seconds_a_photo"  # of a photograph at its own size
SAME, PLUS, SLIDING, V3 = "unet-same", "unetplusplus", "sliding-window", "deeplab-v3-os8"
WHOLE_FC6, SMALL_RATES, V3_16 = "deeplab-v1-7x7", "deeplab-v2-vgg16-s", "deeplab-v3"
XCEPTION, PLUS101 = "deeplab-v3plus-xception", "deeplab-v3plus-resnet101"
REFINE = "refinenet-resnet50"
NEARLY = 0.02  # mIoU
HUNG, FEW = ["--adversarial", "hung"], ["--train-labels", "{eighth}"]
# What is trained otherwise than the networks of the dictionary: their network, and more options, in
# which the labels of every eighth training picture stand for {eighth}, and for {pictures} the
# folder of all.
VARIANTS = {
    "fcn8s-luc": ("fcn8s", ["--adversarial", "luc"]),
    "fcn8s-hung": ("fcn8s", HUNG),
    "fcn8s-souly": ("fcn8s", ["--adversarial", "souly"]),
    "fcn8s-eighth": ("fcn8s", FEW),
    "fcn8s-eighth-hung": ("fcn8s", [*FEW, *HUNG, "--unlabelled", "{pictures}"]),
}
CLAIMS = (
    Claim("FCN", "no repeated computing of patches", SLIDING, SLIDING, PATCHES, ">", COST),
    Claim("FCN", "insensitive to detail", "fcn8s", "unet-same", EDGES, "<"),
    Claim("FCN", "suffers from smaller pictures", "fcn8s", "fcn8s", HALF, "<", MIOU),
    Claim("FCN", "suffers from larger pictures", "fcn8s", "fcn8s", DOUBLE, "<", MIOU),
    Claim("FCN", "16s is better than 32s", "fcn16s", "fcn32s", MIOU),
    Claim("FCN", "8s is better than 16s", "fcn8s", "fcn16s", MIOU),
    Claim("FCN", "4s gains nothing beyond 8s", "fcn4s", "fcn8s", MIOU, "="),
    Claim("FCN", "2s gains nothing beyond 8s", "fcn2s", "fcn8s", MIOU, "="),
    Claim("FCN", "4s has no finer edges than 8s", "fcn4s", "fcn8s", EDGES, "="),
    Claim("FCN", "2s has no finer edges than 8s", "fcn2s", "fcn8s", EDGES, "="),
    Claim("FCN", "skips to early maps harm the late ones", "fcn8s", "fcn32s", MIOU, "<"),
    Claim("SegNet", "few parameters", "segnet", "fcn8s", "parameters", "<"),
    Claim("SegNet", "indices keep detail", "segnet", "segnet-without-indices", EDGES),
    Claim("SegNet", "more than repeated values", "segnet", "segnet-nearest", EDGES),
    Claim("DeconvNet", "finer detail than FCN", "deconvnet", "fcn8s", EDGES),
    Claim("DeconvNet", "better on small things than FCN", "deconvnet", "fcn8s", SMALL),
    Claim("U-Net", "concatenated maps give finer edges", SAME, "unet-same-without-skips", EDGES),
    Claim("U-Net", "valid convolutions cost accuracy", "unet", SAME, MIOU, "<"),
    Claim("U-Net", "valid convolutions serve the picture's sides", "unet", SAME, RIM),
    Claim("U-Net", "the deepest is the best, which UNet++ denies", "unet-l4", "unet-l3", MIOU),
    Claim("UNet++", "more accurate than U-Net", "unetplusplus-l4", "unet-l4", MIOU),
    Claim("UNet++", "converges faster than U-Net", "unetplusplus-l4", "unet-l4", HALF_WAY),
    Claim("UNet++", "cut off at L3 nearly as good", PLUS, PLUS, PRUNED_MIOU, "=", MIOU, NEARLY),
    Claim("UNet++", "cut off at L3 it costs less", PLUS, PLUS, PRUNED_COST, "<", COST),
    Claim("DeepLab v1", "maps of 1/8 keep more than of 1/32", "deeplab-v1", "fcn32s", EDGES),
    Claim("DeepLab v1", "answers at 1/8 lose detail", "deeplab-v1", SAME, EDGES, "<"),
    Claim("DeepLab v1", "holes add no parameters", V3, V3_16, "parameters", "="),
    Claim(
        "DeepLab v1", "a wide field with few parameters", "deeplab-v1", WHOLE_FC6, "parameters", "<"
    ),
    Claim(
        "DeepLab v1", "as accurate as with 7x7 and 4096 filters", "deeplab-v1", WHOLE_FC6, MIOU, "="
    ),
    Claim("DeepLab v1", "loses small things most of all", "deeplab-v1", SAME, SMALL_SHARE, "<"),
    Claim("DeepLab v2", "ASPP catches more scales", "deeplab-v2-vgg16", "deeplab-v1", MIOU),
    Claim("DeepLab v2", "so it does at smaller rates", SMALL_RATES, "deeplab-v1", MIOU),
    Claim("DeepLab v2", "ASPP sees large objects", "deeplab-v2-vgg16", "deeplab-v1", LARGE),
    Claim("DeepLab v2", "large rates see large objects", "deeplab-v2-vgg16", SMALL_RATES, LARGE),
    Claim("DeepLab v2", "small rates see small objects", SMALL_RATES, "deeplab-v2-vgg16", SMALL),
    # At 1/8, as its map of the comparison's small pictures has 6x8 places at 1/16.
    Claim("DeepLab v3", "maps of 1/8 are better than of 1/16", V3, V3_16, MIOU),
    Claim("DeepLab v3", "image pooling helps", V3, "deeplab-v3-os8-without-pooling", MIOU),
    Claim("DeepLab v3", "multi-grid helps", V3, "deeplab-v3-os8-without-grid", MIOU),
    Claim("DeepLab v3+", "the decoder recovers detail", "deeplab-v3plus", V3_16, EDGES),
    Claim("DeepLab v3+", "a separable Xception costs less", XCEPTION, PLUS101, COST, "<"),
    Claim("DeepLab v3+", "a separable Xception is faster", XCEPTION, PLUS101, ANSWER, "<"),
    Claim("DeepLab v3+", "a separable Xception is more accurate", XCEPTION, PLUS101, MIOU),
    Claim(
        "RefineNet",
        "chained pooling sees large regions",
        REFINE,
        f"{REFINE}-without-pooling",
        LARGE,
    ),
    Claim(
        "RefineNet",
        "residual paths carry the gradients",
        REFINE,
        f"{REFINE}-without-shortcuts",
        GRADIENT,
    ),
    Claim(
        "RefineNet",
        "residual paths make it more accurate",
        REFINE,
        f"{REFINE}-without-shortcuts",
        MIOU,
    ),
    Claim("PSPNet", "pyramid pooling gathers context", "pspnet", "pspnet-without-pooling", MIOU),
    Claim("PSPNet", "the pyramid costs little more", "pspnet", "pspnet-without-pooling", COST, "="),
    Claim("PSPNet", "loses detail", "pspnet", SAME, EDGES, "<"),
    Claim("PSPNet", "the auxiliary loss helps", "pspnet", "pspnet-without-auxiliary", MIOU),
    Claim("GCN", "large kernels are more accurate", "gcn", "gcn-k3", MIOU),
    Claim("GCN", "large kernels are costly", "gcn", "gcn-k3", COST),
    Claim("GCN", "large kernels have many parameters", "gcn", "gcn-k3", "parameters"),
    Claim("GCN", "in columns and rows they cost less", "gcn", "gcn", COST, "<", WHOLE),
    Claim("FPN", "adding does as well as concatenating", "unet-same-added", "unet-same", MIOU, "="),
    Claim("dense CRF", "recovers boundaries", "deeplab-v1", "deeplab-v1", CRF_EDGES, ">", EDGES),
    Claim("dense CRF", "is more accurate", "deeplab-v1", "deeplab-v1", CRF_MIOU, ">", MIOU),
    Claim("dense CRF", "is slow", "deeplab-v1", "deeplab-v1", CRF_PHOTO, ">", PHOTO),
    Claim("adversary", "Luc's helps", "fcn8s-luc", "fcn8s", MIOU),
    Claim("adversary", "Hung's helps", "fcn8s-hung", "fcn8s", MIOU),
    Claim("adversary", "Souly's helps", "fcn8s-souly", "fcn8s", MIOU),
    Claim("adversary", "an eighth of the labels is too few", "fcn8s-eighth", "fcn8s", MIOU, "<"),
    Claim(
        "adversary",
        "Hung's learns from pictures without labels",
        "fcn8s-eighth-hung",
        "fcn8s-eighth",
        MIOU,
    ),
    Claim("CRF as RNN", "recovers boundaries", "crf-rnn", "fcn8s", EDGES),
    Claim("CRF as RNN", "better than a CRF behind", "crf-rnn", "fcn8s", MIOU, ">", CRF_MIOU),
    Claim("CRF as RNN", "is slow", "crf-rnn", "fcn8s", ANSWER),
)
# No matter of the seed.
TIMES = (ANSWER, PHOTO, CRF_PHOTO)
EXACT = (COST, PRUNED_COST, PATCHES, WHOLE, "parameters", *TIMES)
# Share of the greater below which a difference of these is none to speak of; the times of one
# network, measured on several days, lay up to 1.6 times apart.
SLIGHT, SLIGHT_TIME = 0.2, 0.4
LEAST = 3  # seeds that decide
NOTHING = 0.02  # mIoU
LITTLE = 0.25  # of the way from nothing to the best network: what went less has hardly learnt
WORDS = {">": "more", "<": "less", "=": "no difference"}
RULE = f"""\
Sentences of overviews and course notes, shortened. Two networks differ where the means over their
{LEAST} seeds lie further apart than the seeds of either of them do; what one network says in two
ways is compared seed by seed. That finds large differences alone: of one as large as two standard
deviations between seeds only every other, so "no difference" says that none was seen. What seeds do
not change differs from {SLIGHT:.0%} of the greater on, times from {SLIGHT_TIME:.0%} on, as one
network's lay up to 1.6 times apart on several days.
"""


def named(claims: Iterable[Claim] = CLAIMS) -> list[str]:
    """The networks that claims hang on whose seeds differ, each once."""
    pairs = [(claim.one, claim.other) for claim in claims if claim.by not in EXACT]
    return list(dict.fromkeys(name for pair in pairs for name in pair))


def asked(*columns: str, claims: Iterable[Claim] = CLAIMS) -> set[str]:
    """The networks of which claims look at any of these columns."""
    return {name for claim in claims for name, by in claim.sides() if by in columns}


def hardly_learnt(results: Iterable[Mapping]) -> list[str]:
    """The networks that went less than `LITTLE` of the way to the best one, or than `NOTHING`.

    It begins at the dataset mIoU of who says background everywhere; means over seeds.
    """
    scores: dict[str, list[float]] = {}
    for row in results:
        if "background_miou" in row:
            gain = row[MIOU] - row["background_miou"]
            scores.setdefault(row["name"], []).append(gain)
    gains = {name: statistics.mean(each) for name, each in scores.items()}
    least = max(NOTHING, LITTLE * max(gains.values(), default=0))
    return [name for name, gain in gains.items() if gain < least]


def found(one: list[float], other: list[float], slack: float = 0.0) -> str:
    """Whether there is more in `one`, ">", or less, "<", or "=" where the seeds lie further apart.

    Args:
        one, other: the same of two networks, a value a seed.
        slack: a difference that is none to speak of either.
    """
    spread = max(max(values) - min(values) for values in (one, other))
    return sign(statistics.mean(one) - statistics.mean(other), max(spread, slack))


def sign(difference: float, spread: float) -> str:
    """Of a difference, "=" where it is none to speak of."""
    return "=" if abs(difference) <= spread else ">" if difference > 0 else "<"


def decide(claim: Claim, one: list[float], other: list[float]) -> str:
    """As `found`, by what a claim is of; values of one network are those of the same seeds."""
    if claim.by in EXACT:
        slight = SLIGHT_TIME if claim.by in TIMES else SLIGHT
        return sign(one[0] - other[0], slight * max(one[0], other[0]))
    if claim.one == claim.other:
        differences = [a - b for a, b in zip(one, other, strict=True)]
        return found(differences, [0.0], claim.slack)
    return found(one, other, claim.slack)


def verdict_of(claim: Claim, values: list[list[float]]) -> str:
    """Whether a claim holds, in a few words; `values` of both its sides, as for `decide`."""
    finding, exact, least = decide(claim, *values), claim.by in EXACT, min(map(len, values))
    word = "hardly a difference" if finding == "=" and exact else WORDS[finding]
    verdict = word if finding == "=" and not exact else f"does not hold: {word}"
    if finding == claim.expected:
        verdict = "holds: no difference" if finding == "=" and not exact else "holds"
    if exact or least >= LEAST:
        return verdict
    # Few seeds cannot tell none from a small difference.
    verdict = word if claim.expected == "=" else verdict
    return f"is open; with {'one seed' if least == 1 else f'{least} seeds'}: {verdict}"


def verdicts(results: Iterable[Mapping], headings: Mapping[str, tuple[str, str]]) -> str:
    """A Markdown table of the claims beside what was measured, where one of both networks was.

    Args:
        results: rows of the comparison, one for each network and seed.
        headings: of the columns: what they are called, and their format.
    """
    lines = ["| of | it is said | measured | so the claim |", "|---|---|---|---|"]
    known, idle = {row["name"] for row in results}, hardly_learnt(results)
    for claim in CLAIMS:
        sides = claim.sides()
        if not known.intersection(name for name, _ in sides):
            continue
        # Of a network in two ways, the runs that were measured in both.
        rows = [r for r in results if all(by in r for name, by in sides if name == r["name"])]
        values = [[row[by] for row in rows if row["name"] == name] for name, by in sides]
        values = [each[:1] for each in values] if claim.by in EXACT else values
        if all(values):
            shown = [
                f"{name} {' '.join(map(headings[by][1].format, each))}"
                for (name, by), each in zip(sides, values, strict=True)
            ]
            told = [f"{headings[by][0]}: " if by != claim.by else "" for _, by in sides]
            both = [words + of for words, of in zip(told, shown, strict=True)]
            measured = f"{headings[claim.by][0]}: {('; ' if any(told) else ', ').join(both)}"
            verdict = verdict_of(claim, values)
        else:
            there = {(row["name"], by) for row in results for _, by in sides if by in row}
            missing = [side for side in sides if side not in there] or sides
            wanted = "; ".join(f"{name}: {headings[by][0]}" for name, by in missing)
            measured, verdict = f"not yet: {wanted}", "is open"
        slow = [] if claim.by in EXACT else [name for name in idle if name in dict(sides)]
        told = f" ({' and '.join(slow)}: hardly learnt)" if slow else ""
        lines.append(f"| {claim.method} | {claim.text} | {measured} | {verdict}{told} |")
    return "\n".join(lines) + "\n"
