"""The names of all settings that the Prefect of this Python reads, one a line, in capitals.

From 3.0.11 on settings are models of pydantic's, one in the other; before that they are one flat list.
"""

import prefect.settings
from pydantic import AliasChoices, BaseModel


def of_model(model):
    """The names of a model's fields, and of the models that they hold."""
    prefix = model.model_config.get("env_prefix") or "prefect_"
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(
            field.annotation, BaseModel
        ):
            yield from of_model(field.annotation)
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else []
        yield from [choice for choice in choices if isinstance(choice, str)] or [
            prefix + name
        ]


def names():
    if hasattr(prefect.settings, "SETTING_VARIABLES"):
        return prefect.settings.SETTING_VARIABLES
    return of_model(prefect.settings.Settings)


if __name__ == "__main__":
    print("\n".join(sorted({name.upper() for name in names()})))
