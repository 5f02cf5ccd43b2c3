"""What can go wrong. Each message says what, where, and what to do."""


class Blip2Error(Exception):
    """Any failure of this package but a wrong type of an argument, which is a `TypeError`."""


class NotFoundError(Blip2Error, FileNotFoundError):
    """A model or a picture that is not there."""


class InputError(Blip2Error, ValueError):
    """A picture, a text or an option that cannot be used."""


class UntrainedError(Blip2Error):
    """The model was not trained for what it is asked."""


class DeviceError(Blip2Error):
    """A device that cannot be used here."""


class DownloadError(Blip2Error, OSError):
    """A model that could not be fetched."""
