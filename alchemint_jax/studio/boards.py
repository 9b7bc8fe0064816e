"""The boards of a workspace: files that `alchemint generate` takes, once they make sense."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import yaml

from alchemint_jax import documents, media, shipped
from alchemint_jax.errors import StoryboardError
from alchemint_jax.scene.storyboard import Storyboard
from alchemint_jax.studio import pictures
from alchemint_jax.studio.answers import Refused
from alchemint_jax.studio.drafts import Draft, draft_of, pictures_in, with_pictures
from alchemint_jax.studio.workspace import Workspace, new_id

MAX_BOARDS = 1000
MAX_ZIP = 64 * 2**20
_FROM_BOARDS = "../pictures/"
_IN_ZIP = "pictures/"
NEW: Draft = {"prompt": "", "duration": 4.0, "subjects": []}


def to_yaml(draft: Draft, folder: str = _FROM_BOARDS) -> str:
    """A draft as the text of a storyboard file, whose pictures lie in `folder`."""
    placed = with_pictures(draft, lambda name: folder + name)
    return yaml.safe_dump(placed, sort_keys=False, allow_unicode=True, width=100)


class Boards:
    """The boards of a workspace."""

    def __init__(self, workspace: Workspace):
        self._folder, self._pictures = workspace.boards, workspace.pictures

    def all(self) -> list[dict[str, Any]]:
        """What a list of them says: id, prompt, subjects and when they were changed; newest first.

        A file that somebody made unreadable has its problem as its prompt.
        """
        found = []
        for path in self._folder.glob("*.yaml"):
            try:
                changed = path.stat().st_mtime
                draft = self._read(path)
                said = {"prompt": draft["prompt"], "duration": draft["duration"]}
                said["subjects"] = [subject["word"] for subject in draft.get("subjects", [])]
            except FileNotFoundError:  # it was deleted meanwhile
                continue
            except (StoryboardError, Refused, OSError) as error:
                said = {"prompt": "", "problem": str(error), "subjects": []}
            found.append({"id": path.stem, "changed": changed, **said})
        return sorted(found, key=lambda one: -one["changed"])

    def read(self, board: str) -> dict[str, Any]:
        """A board: its id, its draft, and the revision that tells it from earlier ones.

        Raises:
            Refused: there is none, or its file was made unreadable.
        """
        path = self._file(board)
        try:
            return {"id": board, "revision": _revision(path), "board": self._read(path)}
        except FileNotFoundError:
            raise Refused("there is no such board", 404) from None
        except (StoryboardError, Refused) as error:
            raise Refused(f"{path}: was changed by hand: {error}", 409) from None

    def add(self, draft: Draft) -> dict[str, Any]:
        """A new board."""
        if sum(1 for _ in self._folder.glob("*.yaml")) >= MAX_BOARDS:
            raise Refused(f"there are {MAX_BOARDS} boards; delete some of them", 409)
        return self._write(new_id(), draft)

    def change(self, board: str, draft: Draft, revision: str) -> dict[str, Any]:
        """A board as it is now, if it still was as `revision` says.

        Raises:
            Refused: there is none, or somebody else has changed it.
        """
        path = self._file(board)
        if not path.is_file():
            raise Refused("there is no such board", 404)
        if _revision(path) != revision:
            raise Refused("this board was changed in another window; load it again", 409)
        return self._write(board, draft)

    def remove(self, board: str) -> None:
        """Deletes a board; its renders and pictures stay."""
        self._file(board).unlink(missing_ok=True)

    def _file(self, board: str) -> Path:
        return self._folder / f"{board}.yaml"

    def _read(self, path: Path) -> Draft:
        values, _ = documents.read(path)

        def name(text: Any) -> str | None:
            last = Path(text).name if isinstance(text, str) else ""
            return last if (self._pictures / last).is_file() else None

        return draft_of(with_pictures(values, name))

    def _write(self, board: str, draft: Draft) -> dict[str, Any]:
        for name in pictures_in(draft):
            pictures.found(self._pictures, name)
        path = self._file(board)
        media.write_bytes(path, to_yaml(draft).encode())
        return {"id": board, "revision": _revision(path), "board": draft}


def _revision(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


# ------------------------------------------------------------------------ opening and saving


def opened(text: str, source: str, names: dict[str, str]) -> tuple[Draft, list[str]]:
    """A storyboard file as a draft, and those of its pictures that are not there.

    Args:
        text: YAML or, if the source ends in .json, JSON.
        source: the name of the file.
        names: of pictures in the workspace, by the names that they have in the file, without
            folders.

    Raises:
        StoryboardError: it is no storyboard.
    """
    values, _ = documents.parse(text, source, source.lower().endswith(".json"))
    missing: list[str] = []

    def name(picture: Any) -> str | None:
        last = str(picture).replace("\\", "/").rpartition("/")[2]
        if last not in names and (shown := str(picture)[:200]) not in missing:
            missing.append(shown)
        return names.get(last)

    # The words of the command line for what makes no sense, but for pictures, which can be dropped.
    bare = with_pictures(values, lambda _: None)
    if isinstance(bare, dict):
        bare.pop("keyframes", None)  # which are nothing without; their times are checked as drawn
    Storyboard.from_dict(bare, source=source, pictures=False)
    return draft_of(with_pictures(values, name)), missing


def zipped(draft: Draft, folder: Path) -> bytes:
    """A board and its pictures as one file, board.yaml and pictures/."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("board.yaml", to_yaml(draft, _IN_ZIP))
        for name in sorted({*pictures_in(draft)}):
            file.write(pictures.found(folder, name), _IN_ZIP + name)
    return buffer.getvalue()


def unzipped(data: bytes, folder: Path) -> tuple[Draft, list[str]]:
    """The board of a file that `zipped` made, or anybody else; see `opened`.

    Its pictures are kept in `folder`. No name in the file is one of a file here.

    Raises:
        Refused, StoryboardError: it holds no board, or is too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            entries = [one for one in file.infolist() if not one.is_dir()]
            if len(entries) > 200 or sum(one.file_size for one in entries) > MAX_ZIP:
                raise Refused(f"the zip file holds more than 200 files or {MAX_ZIP >> 20} MiB", 413)
            boards = [one for one in entries if one.filename.lower().endswith((".yaml", ".yml"))]
            if len(boards) != 1:
                raise Refused(f"the zip file holds {len(boards)} storyboards (*.yaml), not one")
            text = file.read(boards[0]).decode()
            names = {}
            for one in entries:
                if one is not boards[0]:
                    last = one.filename.rpartition("/")[2]
                    names[last] = pictures.keep(folder, file.read(one)).name
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise Refused(f"this is no zip file that can be read: {error}") from None
    except UnicodeDecodeError:
        raise Refused("the storyboard in the zip file is not UTF-8 text") from None
    return opened(text, boards[0].filename.rpartition("/")[2], names)


def examples() -> dict[str, Path]:
    """The storyboards that come with the package, by name."""
    return {path.stem: path for path in sorted((shipped.root() / "examples").glob("*.yaml"))}


def example(name: str, folder: Path) -> Draft:
    """One of them; its pictures are kept in `folder`.

    Raises:
        Refused: there is none of that name.
    """
    if name not in examples():
        raise Refused(f"there is no example of that name; known: {', '.join(examples())}", 404)
    path = examples()[name]
    board = Storyboard.load(path)
    names = {p.name: pictures.keep(folder, p.read_bytes()).name for _, p in board.pictures()}
    return opened(path.read_text("utf-8"), path.name, names)[0]
