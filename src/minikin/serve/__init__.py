"""A family behind the OpenAI API, and the page to try it on."""
