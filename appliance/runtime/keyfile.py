"""The admin key: 256 random bits in a file only the owner can read, made at first start."""

import os
import secrets
from pathlib import Path

from appliance.errors import CannotBoot

FILE_NAME = "admin.key"


def admin_key(data_directory: Path) -> str:
    """Reads the key, or makes it. Written whole or not at all; never printed."""
    path = data_directory / FILE_NAME
    try:
        key = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(f"sk-sluice-{secrets.token_urlsafe(32)}\n")
            file.flush()
            os.fsync(descriptor)
        fresh.rename(path)
        return admin_key(data_directory)
    except (OSError, UnicodeDecodeError) as error:
        raise CannotBoot(f"{path} cannot be read: {error}", hint="mend or delete it") from None
    if len(key) < 20:
        raise CannotBoot(f"{path} holds no key", hint="delete it; a new one is made at start")
    return key
