"""All settings together: merged from defaults, a YAML file and flags; checked; written as YAML.

Flags override the file, the file overrides the defaults. settings/ defines the settings.
"""

import difflib
import functools
import importlib.resources
import logging
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from os import PathLike
from pathlib import Path
from typing import Any

from asr_ctc.base.errors import UserError
from asr_ctc.config.settings.check import CheckConfig
from asr_ctc.config.settings.corpus import CorpusConfig
from asr_ctc.config.settings.decoding import DecodingConfig
from asr_ctc.config.settings.features import FeaturesConfig
from asr_ctc.config.settings.input import InputConfig
from asr_ctc.config.settings.inspect import InspectConfig
from asr_ctc.config.settings.language_model import LanguageModelConfig
from asr_ctc.config.settings.logs import LogsConfig
from asr_ctc.config.settings.model import ModelConfig
from asr_ctc.config.settings.output import OutputConfig
from asr_ctc.config.settings.published import PublishedConfig
from asr_ctc.config.settings.runtime import RuntimeConfig
from asr_ctc.config.settings.scoring import ScoringConfig
from asr_ctc.config.settings.split import SplitConfig
from asr_ctc.config.settings.training import TrainingConfig
from asr_ctc.config.settings.units import UnitsConfig

log = logging.getLogger(__name__)

MOST_YAML_CHARACTERS = 1 << 20
LARGEST = 2**63  # whole numbers beyond are no settings
TRUE_WORDS = {"true", "yes", "on", "1"}
FALSE_WORDS = {"false", "no", "off", "0"}
NOT_SECTIONS = ("typed", "given", "names", "file")
NONE_WORDS = {"", "none", "null", "~"}
# Settings of earlier versions, {name: (default, why it was removed)}: files may still contain them.
REMOVED = {
    "optimizer": ("adamw", "the optimiser is AdamW"),
    "momentum": (0.9, "it belonged to --optimizer sgd, and the optimiser is AdamW now"),
    "histograms": (False, "tensorboard shows scores, decodings and pictures"),
}
REMOVED_CHOICES = {
    ("scheduler", "exponential"): "step halves at the same rate; cosine also decays gradually",
}


@dataclass(frozen=True)
class Config:
    """All settings, one section per concern.

    ``given`` are the names of settings that flags or a file set, ``typed`` of those that flags set.
    Only assembly and commands use them, to resolve settings that are not given; the parts below
    receive values. ``names`` are the settings of the command, None: all settings. ``file`` is the
    path of the file, if there was one.
    """

    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    classes: UnitsConfig = field(default_factory=UnitsConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    published: PublishedConfig = field(default_factory=PublishedConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    logs: LogsConfig = field(default_factory=LogsConfig)
    input: InputConfig = field(default_factory=InputConfig)
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    check: CheckConfig = field(default_factory=CheckConfig)
    inspect: InspectConfig = field(default_factory=InspectConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    lm: LanguageModelConfig = field(default_factory=LanguageModelConfig)
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    typed: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()
    names: tuple[str, ...] | None = None
    file: str | None = None

    def has(self, name: str) -> bool:
        """Whether a flag or a file set the value; otherwise it is the default.

        For assembly, which resolves defaults that depend on a model file or a corpus.
        """
        return name in self.given

    def replace(self, **values: Any) -> "Config":
        """A copy with some settings changed, by name: ``config.replace(seed=1)``."""
        table = settings()
        changes: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            section, f, _ = table[name]
            changes.setdefault(section, {})[f.name] = value
        return replace(
            self, **{name: replace(getattr(self, name), **of) for name, of in changes.items()}
        )

    def sections(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in NOT_SECTIONS}

    def to_yaml(self) -> str:
        """The settings as YAML that ``--config`` reads back to the same values.

        Settings of other commands are excluded: they had no effect here, and would, for example,
        override the language model that `test` takes from a model file.
        """
        lines = []
        for name, section in self.sections().items():
            used = [f for f in fields(section) if self.names is None or name_of(f) in self.names]
            if used:
                lines.append(f"# {name}: {section.__doc__}")
                lines += [f"{name_of(f)}: {_yaml_scalar(getattr(section, f.name))}" for f in used]
                lines.append("")
        return "\n".join(lines)


@functools.cache
def settings() -> dict[str, tuple[str, Field, Any]]:
    """{name: (section name, dataclass field, type)} of every setting, in order.

    The result is cached and shared: do not modify it.
    """
    table = {}
    for section, section_class in typing.get_type_hints(Config).items():
        if section in NOT_SECTIONS:
            continue
        hints = typing.get_type_hints(section_class)
        for f in fields(section_class):
            table[name_of(f)] = (section, f, hints[f.name])
    return table


def name_of(f: Field) -> str:
    """The setting's name; the field of a Python keyword ends in an underscore (``from_``)."""
    return f.name.rstrip("_")


def default_of(f: Field) -> Any:
    return f.default if f.default_factory is MISSING else f.default_factory()


def is_list(hint: Any) -> bool:
    return typing.get_origin(hint) is list


def plain_type(hint: Any) -> type:
    """int, float, str or bool: the type of one value, apart from None and lists."""
    plain = [kind for kind in typing.get_args(hint) or (hint,) if kind is not type(None)]
    return plain[0]


def _as_list(raw: Any) -> list:
    """The texts of a list setting; "none" is a word of some, such as --augment none."""
    if isinstance(raw, str) and raw.strip().lower() in NONE_WORDS - {"none"}:
        return []
    return raw if isinstance(raw, list) else [raw]


def parse_value(name: str, raw: Any, hint: Any, bare: str | None = None) -> Any:
    """Text (or a list of texts) to a value of the setting's type; UserError names the setting.

    If the setting has a ``bare`` value, true stands for that value and false for None.
    """
    if is_list(hint):
        return [parse_value(name, value, plain_type(hint)) for value in _as_list(raw)]
    if not isinstance(raw, str):
        raise UserError(f"{name}: expected one value, found {shortened(raw)}")
    if (name, raw) in REMOVED_CHOICES:
        raise UserError(f"{name}: {raw} was removed: {REMOVED_CHOICES[name, raw]}")
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
            raise UserError(f"{name}: expected true or false, found {shortened(raw)}")
        return raw.lower() in TRUE_WORDS
    try:
        value = hint(raw)
        if hint is int and abs(value) >= LARGEST:
            raise ValueError
    except ValueError:
        kind = {int: "a whole number", float: "a number"}[hint]
        raise UserError(f"{name}: expected {kind}, found {shortened(raw)}") from None
    return value


def shortened(raw: object) -> str:
    """What was found, for a message of one line."""
    text = repr(raw)
    return text if len(text) <= 100 else f"{text[:80]}… ({len(text):,} characters)"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ " (did you mean ...?)" with the nearest of the known words; empty if none is near."""
    near = nearest(word, known)
    return f" (did you mean {near}?)" if near else ""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The nearest of the known words; None if none is near."""
    return next(iter(difflib.get_close_matches(word[:100], list(known), n=1)), None)


def recipes() -> dict[str, Path]:
    """{file name: path} of the recipes shipped with asr_ctc: in the installed package, or in
    configs/ of the repository."""
    package = Path(str(importlib.resources.files("asr_ctc")))
    inside = package / "recipes"
    folder = inside if inside.is_dir() else package.parent / "configs"
    return {file.name: file for file in sorted(folder.glob("*.yaml"))}


def find_settings_file(path: str | Path) -> Path:
    """The file at ``path``; if it does not exist, the recipe with that name."""
    file = Path(path)
    if file.exists() or file.parent not in (Path(), Path("configs")) or file.name not in recipes():
        return file
    recipe = recipes()[file.name]
    log.info("--config %s: using the recipe shipped with asr_ctc, %s", path, recipe)
    return recipe


def is_left_over(name: str, raw: Any) -> bool:
    """Whether ``name`` is a removed setting with its former default value."""
    if name not in REMOVED:
        return False
    default, _ = REMOVED[name]
    try:
        return parse_value(name, raw, type(default)) == default
    except UserError:
        return False


def read_yaml(path: str | PathLike[str]) -> dict[str, Any]:
    """The settings in a YAML file, {name: value}; UserError names every problem.

    ``path`` may name a recipe, as in ``find_settings_file``.
    """
    file = find_settings_file(Path(path))
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        hint = ""
        if isinstance(error, FileNotFoundError):
            hint = f"; recipes shipped with asr_ctc: {', '.join(recipes())}"
        raise UserError(f"--config {path}: cannot be read ({reason}){hint}") from None
    return parse_yaml(text, f"--config {file}")


def load_yaml(text: str, source: str) -> dict[str, typing.Any]:
    """{name: text} of YAML, or lists and tables of texts; UserError when it cannot be read.

    Aliases, which can make gigabytes of a line, are refused, and so is what is nested very deeply.
    """
    import yaml

    class Loader(yaml.BaseLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.MarkedYAMLError(problem_mark=self.peek_event().start_mark)
            return super().compose_node(parent, index)

    if len(text) > MOST_YAML_CHARACTERS:
        raise UserError(f"{source}: is too long for settings ({len(text):,} characters)")
    try:
        content = yaml.load(text, Loader=Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        raise UserError(f"{source}: not valid YAML{place}") from None
    if content is None or content == "":
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{source}: must contain lines of `name: value`")
    return {str(name): raw for name, raw in content.items()}


def parse_yaml(text: str, source: str, ignored: Collection[str] = ()) -> dict[str, Any]:
    """The settings in YAML, {name: value}; each value is parsed by the type of its setting.

    All scalars are loaded as text, because YAML's own type guesses are wrong here: ``1e-4`` would
    be text and ``lang: no`` would be False. ``source`` names the YAML in errors. Names in
    ``ignored`` are skipped.
    """
    content = load_yaml(text, source)
    table, values, problems = settings(), {}, []
    for name, raw in content.items():
        if name in ignored or is_left_over(name, raw):
            continue
        if name in REMOVED:
            problems.append(f"{name}: {raw} was removed: {REMOVED[name][1]}")
            continue
        if name not in table:
            problems.append(f"unknown key {shortened(name)}{did_you_mean(name, table)}")
            continue
        try:
            _, f, hint = table[name]
            values[name] = parse_value(name, raw, hint, f.metadata["bare"])
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError(f"{source}: " + "; ".join(problems))
    return values


def make_config(
    file_values: dict[str, Any],
    flag_values: dict[str, Any],
    *,
    names: Collection[str] | None = None,
    defaults: Mapping[str, Any] | None = None,
    file: str | None = None,
) -> Config:
    """Merges defaults, file and flags, in this order; one UserError names every invalid value.

    ``names`` are the settings of the command (None: all). The file may contain settings of other
    commands, which are checked and ignored. ``defaults`` {name: value} are the command's own
    defaults; the file's values of these settings are meant for training, and ignored too.
    """
    table, defaults = settings(), defaults or {}
    problems, requested = [], {**file_values, **flag_values}
    for name, (_, f, _) in table.items():
        if name in requested:
            problems += _range_problems(name, requested[name], f.metadata)
    used = {
        name: value
        for name, value in file_values.items()
        if (names is None or name in names) and name not in defaults
    }
    given = {**used, **flag_values}
    config = Config(
        typed=frozenset(flag_values),
        given=frozenset(given),
        names=None if names is None else tuple(names),
        file=file,
    )
    config = config.replace(**{**defaults, **given})
    if problems := problems or _contradictions(config):
        raise UserError("; ".join(problems))
    return config


def _contradictions(config: Config) -> list[str]:
    problems = []
    low, high = config.corpus.min_duration, config.corpus.max_duration
    if low is not None and high is not None and low > high:
        problems.append(f"--min_duration {low:g} is greater than --max_duration {high:g}")
    if config.check.silent_dbfs > config.check.near_silent_dbfs:
        problems.append("--silent_dbfs is greater than --near_silent_dbfs")
    if config.features.win_step > config.features.win_length:
        problems.append("--win_step is greater than --win_length: samples would be skipped")
    starts_anew = not config.model.encoder and not config.training.resume_from
    if config.model.nlayers_rnn < 1 and starts_anew:
        problems.append("--nlayers_rnn 0: only a model with an --encoder goes without")
    return problems


def _range_problems(name: str, value: Any, bounds: Mapping[str, Any]) -> list[str]:
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


def _yaml_scalar(value: Any) -> str:
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
