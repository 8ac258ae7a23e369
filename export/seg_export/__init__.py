"""The export room: a checkpoint becomes artifacts for phones, browsers and servers, each proved against it."""
