"""What a start does about the layout of its data directory, with backups kept beside the data."""

import time
from pathlib import Path

from appliance.backup.backup import back_up, backups_folder
from appliance.backup.layout import settle

UPGRADE_BACKUPS_KEPT = 3


def settle_layout(data: Path) -> None:
    """Refuses newer data, brings older data forward after a backup. The caller holds the lock."""

    def made(name: str) -> Path:
        folder = backups_folder(data)
        target = folder / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.sluice"
        back_up(data, target)
        kept = sorted(folder.glob("layout-*.sluice"), key=lambda one: one.stat().st_mtime_ns)
        for old in kept[:-UPGRADE_BACKUPS_KEPT]:
            old.unlink()
        return target

    settle(data, made)
