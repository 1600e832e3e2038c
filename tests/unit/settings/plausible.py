"""Configs whose every value has the right form: real ones with some values drawn anew from the models' own types."""

import copy
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from settings import RdsSettings, Settings, values

_BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    str: st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8),
    SecretStr: st.sampled_from(["s3cr3t", "'\"\\\n$"]),
    values.Cidr: st.sampled_from(["10.0.0.0/8", "172.18.0.0/16", "0.0.0.0/0", "192.0.2.7/32"]),
    values.PgBouncerImage: st.sampled_from(
        [f"p:{tag}@sha256:{'c' * 64}" for tag in ("1.25.2", "v1.22.0", "v2.0.0-x", "9999999999.1.1", "latest")]
    ),
}


def of_type(annotation: Any, metadata: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    """Values of the right form, as the config holds them."""
    whole = Annotated[annotation, *metadata] if metadata else annotation
    metadata = tuple(
        part for extra in metadata for part in (extra.metadata if isinstance(extra, FieldInfo) else [extra])
    )
    pattern = next((extra.pattern for extra in metadata if hasattr(extra, "expected")), None)
    args = get_args(annotation)
    found: st.SearchStrategy[Any]
    if whole in _BY_TYPE or annotation in _BY_TYPE:
        found = _BY_TYPE[whole if whole in _BY_TYPE else annotation]
    elif pattern is not None:
        found = st.from_regex(pattern, fullmatch=True, alphabet=st.characters(codec="ascii"))
    elif annotation is int:
        least, most = (next(getattr(m, end) for m in metadata if hasattr(m, end)) for end in ("ge", "le"))
        found = st.one_of(st.sampled_from([least, most]), st.integers(least, most))
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        found = _of_model(annotation)
    else:
        found = _of_generic(get_origin(annotation), args)
    return found


def _of_generic(origin: Any, args: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    found: st.SearchStrategy[Any]
    if origin is Annotated:
        found = of_type(args[0], args[1:])
    elif origin is Literal:
        found = st.sampled_from(args)
    elif origin is tuple:
        found = st.lists(of_type(args[0]), max_size=3)
    elif origin is dict:
        found = st.dictionaries(of_type(args[0]), of_type(args[1]), max_size=2)
    else:
        assert origin in (Union, types.UnionType)
        found = st.one_of([st.none() if arg is type(None) else of_type(arg) for arg in args])
    return found


def _of_model(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for name, field in _config_fields(model).items():
        (required if field.is_required() else optional)[name] = of_type(field.annotation, tuple(field.metadata))
    return st.fixed_dictionaries(required, optional=optional)


def _config_fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    fields = {str(field.alias or name): field for name, field in model.model_fields.items()}
    return {name: field for name, field in fields.items() if name not in ("stack", "local", "name")}


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for arg in get_args(annotation) for model in _models(arg)]


@st.composite
def changed(draw: st.DrawFn, config: dict[str, Any]) -> dict[str, Any]:
    """The config with one to three values drawn anew, each at a random depth."""
    found = {key.removeprefix("lightwave:"): value for key, value in copy.deepcopy(config).items()}
    for _ in range(draw(st.integers(1, 3))):
        _change(draw, Settings, found)
    return {f"lightwave:{key}": value for key, value in found.items()}


def _change(draw: st.DrawFn, model: type[BaseModel], found: dict[str, Any]) -> None:
    name, field = draw(st.sampled_from(sorted(_config_fields(model).items())))
    annotation, there = field.annotation, found.get(name)
    inner = _models(annotation) if there else []
    if inner and isinstance(there, dict) and get_origin(annotation) is dict:
        key = draw(st.one_of(st.sampled_from(sorted(there)), of_type(get_args(annotation)[0])))
        if key in there:
            _change(draw, inner[0], there[key])
        else:
            there[key] = draw(of_type(get_args(annotation)[1]))
    elif (
        inner
        and isinstance(there, dict)
        and draw(st.sampled_from(["a value of it"] * 4 + ["all of it"])) != "all of it"
    ):
        _change(draw, RdsSettings if there.get("server") == "rds" else inner[0], there)
    else:
        found[name] = draw(of_type(annotation, tuple(field.metadata)))
