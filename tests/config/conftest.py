from tests.support.settings_files import problems_in, settings_in

__all__ = ["problems_in", "settings_in"]
