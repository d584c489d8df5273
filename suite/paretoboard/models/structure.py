"""What was changed in a network's architecture, as JSON, so that no file of ours needs to pickle code.

A pruned or decomposed network is its registered architecture with some layers replaced by others of torch.nn, or by
one that stands elsewhere in it too. The description names the replaced layers and their arguments; the numbers live in
the state dict, those of a shared layer once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from torch import nn

from paretoboard.errors import NotApplicableError, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

Description = dict[str, dict[str, Any]]  # dotted path of a layer -> {"type": ..., and its arguments}

_ARGUMENTS: Final[Mapping[type[nn.Module], tuple[str, ...]]] = {
    nn.Conv2d: (
        "in_channels",
        "out_channels",
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "groups",
        "bias",
        "padding_mode",
    ),
    nn.Linear: ("in_features", "out_features", "bias"),
    nn.BatchNorm2d: ("num_features", "eps", "momentum", "affine", "track_running_stats"),
    nn.ConstantPad3d: ("padding", "value"),
    nn.GroupNorm: ("num_groups", "num_channels", "eps", "affine"),
    nn.Dropout: ("p", "inplace"),
    nn.ReLU: (),
    nn.Identity: (),
}
_SHARED: Final = "Shared"  # the type of a layer that is the one at another path
_TYPES: Final = {kind.__name__: kind for kind in _ARGUMENTS}


def describe(module: nn.Module, base: nn.Module) -> Description:
    """Which layers of `module` differ from `base`, the architecture as it is registered.

    Raises: NotApplicableError for a change that can't be described: a layer of an unknown kind.
    """
    changes: Description = {}
    _compare(module, base, "", changes)
    firsts: dict[nn.Module, str] = {}
    for path, layer in module.named_modules(remove_duplicate=False):
        first = firsts.setdefault(layer, path)
        if first != path and not _inside(path, changes, _SHARED) and not _same(base, path, first):
            changes = {other: change for other, change in changes.items() if not f"{other}.".startswith(f"{path}.")}
            changes[path] = {"type": _SHARED, "with": first}
    return changes


def rebuild(base: nn.Module, description: Mapping[str, Mapping[str, Any]]) -> nn.Module:
    """`base` with the described layers put in, freshly initialized; `base` itself is changed and returned.

    Raises: StoreError where the description does not fit `base`.
    """
    # What is shared comes last: it may be with a layer that is replaced.
    for path, layer in sorted(description.items(), key=lambda item: item[1].get("type") == _SHARED):
        try:
            shared = layer["type"] == _SHARED
            base.set_submodule(path, base.get_submodule(layer["with"]) if shared else _construct(layer))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StoreError(f"layer '{path}' of the stored structure can't be put in: {error}") from error
    return base


def without_shared(state: Mapping[str, Any], description: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A state dict with the tensors of each shared layer once."""
    again = tuple(f"{path}." for path in _shared(description))
    return {name: tensor for name, tensor in state.items() if not name.startswith(again)}


def with_shared(state: Mapping[str, Any], description: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The whole state dict that `without_shared` made smaller."""
    whole = dict(state)
    for path, first in _shared(description).items():
        own = {name: tensor for name, tensor in state.items() if name.startswith(f"{first}.")}
        whole |= {path + name.removeprefix(first): tensor for name, tensor in own.items()}
    return whole


def _shared(description: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """path -> path of the layer that it is."""
    return {path: layer["with"] for path, layer in description.items() if layer.get("type") == _SHARED}


def _inside(path: str, changes: Description, kind: str) -> bool:
    """Whether `path` lies in a layer that is described as `kind`."""
    return any(path.startswith(f"{other}.") for other, change in changes.items() if change["type"] == kind)


def _same(base: nn.Module, path: str, other: str) -> bool:
    """Whether `base` has one layer at both paths."""
    try:
        return base.get_submodule(path) is base.get_submodule(other)
    except AttributeError:
        return False


def _compare(module: nn.Module, base: nn.Module, path: str, changes: Description) -> None:
    if type(module) is not type(base):
        changes[path] = _layer(module, path)
    elif type(module) in _ARGUMENTS:
        if _layer(module, path) != _layer(base, path):
            changes[path] = _layer(module, path)
    else:
        children, base_children = dict(module.named_children()), dict(base.named_children())
        if children.keys() != base_children.keys():
            changes[path] = _layer(module, path)
            return
        for name, child in children.items():
            _compare(child, base_children[name], f"{path}.{name}" if path else name, changes)


def _layer(module: nn.Module, path: str) -> dict[str, Any]:
    if path and type(module) is nn.Sequential:
        # Pairs, since their order is the order of computing and a JSON object's keys may come back sorted.
        children = [[name, _layer(child, f"{path}.{name}")] for name, child in module.named_children()]
        return {"type": "Sequential", "children": children}
    if not path or type(module) not in _ARGUMENTS:
        known = ", ".join([*_TYPES, "Sequential"])
        where = f"layer '{path}'" if path else "the network as a whole"
        raise NotApplicableError(f"{where} is now a {type(module).__name__}, which can't be stored; known are {known}")
    arguments = {name: _argument(module, name) for name in _ARGUMENTS[type(module)]}
    return {"type": type(module).__name__, **arguments}


def _argument(module: nn.Module, name: str) -> Any:
    value = getattr(module, name)
    if name == "bias":
        return value is not None
    return list(value) if isinstance(value, tuple) else value


def _construct(layer: Mapping[str, Any]) -> nn.Module:
    if layer["type"] == "Sequential":
        sequence = nn.Sequential()
        for name, child in layer["children"]:
            sequence.add_module(name, _construct(child))
        return sequence
    arguments = {
        name: tuple(value) if isinstance(value, list) else value for name, value in layer.items() if name != "type"
    }
    return _TYPES[layer["type"]](**arguments)
