from tests.support.doctor import harness
from tests.support.settings_files import problems_in, settings_in

__all__ = ["harness", "problems_in", "settings_in"]
