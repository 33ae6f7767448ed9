"""All settings together: made of defaults, a YAML file and flags, checked, written down.

Flags win over the file, the file over the defaults. The settings themselves stand in settings.py.
"""

import difflib
import importlib.resources
import logging
import types
import typing
from collections.abc import Collection
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path

from asr_ctc.base.errors import UserError
from asr_ctc.config.settings import (
    CheckConfig,
    CorpusConfig,
    DecodingConfig,
    FeaturesConfig,
    LanguageModelConfig,
    ModelConfig,
    RunsConfig,
    RuntimeConfig,
    ScoringConfig,
    SplitConfig,
    TrainingConfig,
)

log = logging.getLogger("asr_ctc")

MOST_YAML_CHARACTERS = 1 << 20
LARGEST = 2**63  # whole numbers beyond are no settings
TRUE_WORDS = {"true", "yes", "on", "1"}
FALSE_WORDS = {"false", "no", "off", "0"}
NOT_SECTIONS = ("typed", "given")
NONE_WORDS = {"", "none", "null", "~"}
# Settings of earlier versions, {name: (its default, what holds now)}: files may still hold them.
REMOVED = {
    "optimizer": ("adamw", "the optimiser is AdamW"),
    "momentum": (0.9, "it was for --optimizer sgd, and the optimiser is AdamW now"),
    "histograms": (False, "tensorboard gets scores, decodings and pictures"),
}
REMOVED_CHOICES = {
    ("scheduler", "exponential"): "step halves as fast; cosine falls gradually, too",
}


@dataclass
class Config:
    """All settings, one section per concern, and which were typed as flags, or given at all."""

    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    check: CheckConfig = field(default_factory=CheckConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    lm: LanguageModelConfig = field(default_factory=LanguageModelConfig)
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    runs: RunsConfig = field(default_factory=RunsConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    typed: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()

    def sections(self) -> dict:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in NOT_SECTIONS}

    def to_yaml(self) -> str:
        """The settings as a file that ``--config`` reads back to the same values."""
        lines = []
        for name, section in self.sections().items():
            lines.append(f"# {name}: {section.__doc__}")
            for f in fields(section):
                lines.append(f"{name_of(f)}: {_yaml_scalar(getattr(section, f.name))}")
            lines.append("")
        return "\n".join(lines)


def settings() -> dict[str, tuple]:
    """{name: (section name, dataclass field, type)} of every setting, in order."""
    table = {}
    for section in fields(Config):
        if section.name in NOT_SECTIONS:
            continue
        hints = typing.get_type_hints(section.type)
        for f in fields(section.type):
            table[name_of(f)] = (section.name, f, hints[f.name])
    return table


def name_of(f) -> str:
    """The setting of a field; one that Python cannot name has an underscore after it there."""
    return f.name.rstrip("_")


def default_of(f):
    return f.default if f.default is not MISSING else f.default_factory()


def is_list(hint) -> bool:
    return typing.get_origin(hint) is list


def plain_type(hint) -> type:
    """int, float, str or bool: what one value of the setting is, None and lists aside."""
    kinds = [kind for kind in typing.get_args(hint) or (hint,) if kind is not type(None)]
    return kinds[0]


def parse_value(name: str, raw, hint, bare: str | None = None):
    """Text (or a list of texts) to a value of the setting's type; UserError names the setting.

    Where the setting has a ``bare`` value, true means it and false None.
    """
    if is_list(hint):
        values = raw if isinstance(raw, list) else [raw]
        return [parse_value(name, value, plain_type(hint)) for value in values]
    if not isinstance(raw, str):
        raise UserError(f"{name}: one value is needed, found {shortened(raw)}")
    if (name, raw) in REMOVED_CHOICES:
        raise UserError(f"{name}: {raw} is gone: {REMOVED_CHOICES[name, raw]}")
    if isinstance(hint, types.UnionType):
        if raw.strip().lower() in NONE_WORDS:
            return None
        hint = plain_type(hint)
    if hint is str:
        if bare is not None and raw.lower() in TRUE_WORDS | FALSE_WORDS:
            return bare if raw.lower() in TRUE_WORDS else None
        return raw
    if hint is bool:
        if raw.lower() not in TRUE_WORDS | FALSE_WORDS:
            raise UserError(f"{name}: true or false is needed, found {shortened(raw)}")
        return raw.lower() in TRUE_WORDS
    try:
        value = hint(raw)
        if hint is int and abs(value) >= LARGEST:
            raise ValueError
    except ValueError:
        kind = {int: "a whole number", float: "a number"}[hint]
        raise UserError(f"{name}: {kind} is needed, found {shortened(raw)}") from None
    return value


def shortened(raw) -> str:
    """What was found, for a message of one line."""
    text = repr(raw)
    return text if len(text) <= 100 else f"{text[:80]}… ({len(text):,} characters)"


def recipes() -> dict[str, Path]:
    """{file name: path} of the recipes that come with asr_ctc: inside it once installed, else in
    configs/ beside it."""
    package = Path(str(importlib.resources.files("asr_ctc")))
    inside = package / "recipes"
    folder = inside if inside.is_dir() else package.parent / "configs"
    return {file.name: file for file in sorted(folder.glob("*.yaml"))}


def find_settings_file(path) -> Path:
    """The file as named; where there is none, the recipe NAME.yaml or configs/NAME.yaml."""
    file = Path(path)
    if file.exists() or file.parent not in (Path(), Path("configs")) or file.name not in recipes():
        return file
    recipe = recipes()[file.name]
    log.info("--config %s: the recipe that comes with asr_ctc, %s", path, recipe)
    return recipe


def is_left_over(name: str, raw) -> bool:
    """Is it a removed setting, at the value that it has had unless somebody gave another?"""
    if name not in REMOVED:
        return False
    default, _ = REMOVED[name]
    try:
        return parse_value(name, raw, type(default)) == default
    except UserError:
        return False


def read_yaml(path) -> dict:
    """The settings in a YAML file, {name: value}; UserError names what is wrong with it.

    ``path`` may name a recipe that comes with asr_ctc, as in ``find_settings_file``.
    """
    file = find_settings_file(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        hint = ""
        if isinstance(error, FileNotFoundError):
            hint = f"; recipes that come with asr_ctc: {', '.join(recipes())}"
        raise UserError(f"--config {path}: cannot be read ({reason}){hint}") from None
    return parse_yaml(text, f"--config {file}")


def load_yaml(text: str, source: str) -> dict[str, typing.Any]:
    """{name: text} of YAML, or lists and tables of texts; UserError when it cannot be read.

    Aliases, which can make gigabytes of a line, are refused, and so is what is nested very deeply.
    """
    import yaml

    class Loader(yaml.BaseLoader):
        def compose_node(self, parent, index):
            if self.check_event(yaml.AliasEvent):
                raise yaml.MarkedYAMLError(problem_mark=self.peek_event().start_mark)
            return super().compose_node(parent, index)

    if len(text) > MOST_YAML_CHARACTERS:
        raise UserError(f"{source}: {len(text):,} characters are no settings")
    try:
        content = yaml.load(text, Loader=Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise UserError(f"{source}: not valid YAML{where}") from None
    if content is None or content == "":
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{source}: must hold lines of `name: value`")
    return {str(name): raw for name, raw in content.items()}


def parse_yaml(text: str, source: str, ignored: Collection[str] = ()) -> dict:
    """The settings in YAML, {name: value}; every value is read by its setting's type.

    The YAML is loaded with all scalars as text, because YAML's own guesses are wrong here:
    ``1e-4`` would be text and ``lang: no`` would be False. ``source`` names it in errors.
    Names in ``ignored`` are passed over.
    """
    content = load_yaml(text, source)
    table, values, problems = settings(), {}, []
    for name, raw in content.items():
        if name in ignored or is_left_over(name, raw):
            continue
        if name in REMOVED:
            problems.append(f"{name}: {raw} is gone: {REMOVED[name][1]}")
            continue
        if name not in table:
            near = difflib.get_close_matches(name[:100], table, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            problems.append(f"unknown key {shortened(name)}{hint}")
            continue
        try:
            _, f, hint = table[name]
            values[name] = parse_value(name, raw, hint, f.metadata["bare"])
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError(f"{source}: " + "; ".join(problems))
    return values


def make_config(file_values: dict, flag_values: dict, scoring: bool = False) -> Config:
    """Defaults, then the file, then the flags; one UserError names every impossible value.

    ``scoring`` uses duration bounds only when they are typed, so only then can they contradict.
    """
    table, given = settings(), {**file_values, **flag_values}
    config = Config(typed=frozenset(flag_values), given=frozenset(given))
    for name, value in given.items():
        setattr(getattr(config, table[name][0]), table[name][1].name, value)
    problems = []
    for name, (section, f, _) in table.items():
        problems += _range_problems(name, getattr(getattr(config, section), f.name), f.metadata)
    bounds_used = not scoring or {"min_duration", "max_duration"} <= config.typed
    if bounds_used and config.corpus.min_duration > config.corpus.max_duration:
        problems.append(
            f"--min_duration {config.corpus.min_duration:g} is greater than "
            f"--max_duration {config.corpus.max_duration:g}"
        )
    if config.check.silent_dbfs > config.check.near_silent_dbfs:
        problems.append("--silent_dbfs is greater than --near_silent_dbfs")
    if config.features.win_step > config.features.win_length:
        problems.append("--win_step is greater than --win_length: samples would be skipped")
    if problems:
        raise UserError("; ".join(problems))
    return config


def _range_problems(name: str, value, bounds) -> list[str]:
    if value is None:
        return []
    if bounds["choices"]:
        values = value if isinstance(value, list) else [value]
        wrong = [item for item in values if item not in bounds["choices"]]
        listed = ", ".join(bounds["choices"])
        return [f"--{name} must be one of {listed}, found {item!r}" for item in wrong]
    if not isinstance(value, (int, float)):
        return []
    if value != value or value in (float("inf"), -float("inf")):
        return [f"--{name} must be a finite number, found {value}"]
    tests = [
        ("at_least", "at least", lambda bound: value >= bound),
        ("above", "above", lambda bound: value > bound),
        ("at_most", "at most", lambda bound: value <= bound),
        ("below", "below", lambda bound: value < bound),
    ]
    return [
        f"--{name} must be {words} {bounds[key]}, found {value}"
        for key, words, holds in tests
        if bounds[key] is not None and not holds(bounds[key])
    ]


def _yaml_scalar(value) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_yaml_scalar(item) for item in value) + "]"
    if isinstance(value, str) and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, str):
        import yaml

        return yaml.dump(value, default_style='"', width=float("inf")).strip()
    return repr(value)
