"""Properties hold on a slow machine too: no example has a deadline of its own."""

import hypothesis

hypothesis.settings.register_profile("opeva", deadline=None)
hypothesis.settings.load_profile("opeva")
