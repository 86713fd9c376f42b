"""Makes traitlets of the declared settings, so that Jupyter's command line and configuration files know each of them."""

from collections.abc import Iterable
from typing import Any

from traitlets import HasTraits, TraitError, TraitType

from enterprise_gateway_common.environment import SettingDeclaration, SettingError, declarations, parse

__all__ = ["SettingTrait", "settings_traits"]


class SettingTrait(TraitType[Any, Any]):
    """A trait whose values are those of one declared setting, whether written as text or as Python value."""

    def __init__(self, declaration: SettingDeclaration) -> None:
        self._declaration = declaration
        # Stated once here and never by hand: what a person may write is in every help text.
        text = f"{declaration.help} ({declaration.kind.description})"
        names = ", ".join(declaration.environment)
        super().__init__(
            default_value=declaration.default,
            allow_none=declaration.default is None,
            help=f"{text} Environment: {names}." if names else text,
        )
        self.tag(config=True)
        self.info_text = declaration.kind.description

    def from_string(self, s: str) -> Any:  # noqa: ANN401  each setting has its own type
        """Return the value that a text on the command line means."""
        return self._parsed(s)

    def validate(self, obj: HasTraits, value: Any) -> Any:  # noqa: ANN401, ARG002  traitlets' signature
        """Return a value of a configuration file as the setting's own type."""
        if isinstance(value, list | tuple | set | frozenset):
            return self._parsed(",".join(map(str, value)))
        return self._parsed(str(value))

    def _parsed(self, text: str) -> Any:  # noqa: ANN401  each setting has its own type
        try:
            return parse(self._declaration, text, source=f"EnterpriseGatewayApp.{self._declaration.name}")
        except SettingError as error:
            raise TraitError(str(error)) from None


def settings_traits(settings_class: type[Any]) -> type[HasTraits]:
    """Return a class with one trait for each setting, to inherit from."""
    return type(f"{settings_class.__name__}Traits", (HasTraits,), dict(_traits(declarations(settings_class))))


def _traits(found: Iterable[SettingDeclaration]) -> Iterable[tuple[str, SettingTrait]]:
    return ((declaration.name, SettingTrait(declaration)) for declaration in found)
