"""
Bring a layer into a bucket: the parts that it lacks, and from parts the whole.

A part is named by its SHA-256, so it is sent once per bucket, whatever layers it is in, and an interrupted upload goes on
where it stopped. S3 checks what arrives, writes only where nothing stands, and puts the layer together on its own side.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

from lamina.aws.api.parallel import in_parallel
from lamina.aws.api.protocols import CopySource
from lamina.aws.publish.part_copy import PartCopier
from lamina.core.errors import AwsError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from lamina.aws.api.protocols import Objects, SentPart, Stored
    from lamina.aws.publish.naming import Keys
    from lamina.aws.publish.part_copy import PartCopy
    from lamina.aws.publish.parts import Part
    from lamina.aws.publish.zip_source import LayerZip
    from lamina.core.reporter import Reporter

__all__ = ["compose", "is_composed", "prove", "send_parts", "stored_parts"]

_RANGE_BYTES = 8 << 20


def stored_parts(objects: Objects, keys: Keys, source: LayerZip) -> frozenset[str]:
    """Return the SHA-256 of the parts of *source* that the bucket has, whole and unharmed."""

    def stands(piece: tuple[str, Part]) -> str | None:
        sha256, part = piece
        return sha256 if _is(objects.head(keys.part(sha256)), sha256, part, source) else None

    return frozenset(sha256 for sha256 in in_parallel(stands, source.pieces()) if sha256 is not None)


def is_composed(objects: Objects, key: str, source: LayerZip) -> bool:
    """Return whether the whole layer stands at *key*, as far as can be told before Lambda says its SHA-256."""
    stored = objects.head(key)
    size = source.layout.zipped_bytes
    return stored is not None and stored.size == size and stored.sha256 in (None, source.sha256)


def _is(stored: Stored | None, sha256: str, part: Part, source: LayerZip) -> bool:
    if stored is None or stored.size != part.size:
        return False
    if stored.sha256 is None and stored.composite_sha256 is None and stored.etag.endswith('-1"'):
        # Composed of one part, by what speaks like S3 but has no checksum of parts that were copied: then it is the MD5 that tells.
        return stored.etag.strip('"') == _etag(part, source)
    # With no checksum at all it was not put there by lamina.
    return stored.proves(sha256, part.size)


def _etag(part: Part, source: LayerZip) -> str:
    """Return what S3 says of an object that is composed of *part* alone, without quotes."""
    return f"{hashlib.md5(source.digest(part, 'md5'), usedforsecurity=False).hexdigest()}-1"


def send_parts(
    objects: Objects,
    keys: Keys,
    source: LayerZip,
    missing: Collection[str],
    *,
    copies: Mapping[str, PartCopy],
    reporter: Reporter,
    check: Callable[[], None],
) -> int:
    """
    Have the *missing* parts stand there, in parallel: made from what stands already as *copies* tell, or sent.

    Return how many bytes were sent; *check* is called before each, and may raise.
    """

    def send(piece: tuple[str, Part]) -> int:
        check()
        sha256, part = piece
        key = keys.part(sha256)
        grafted = 0
        if (how := copies.get(sha256)) is not None:
            grafting = PartCopier(
                objects=objects, keys=keys, source=source, part=part, advance=reporter.advance, check=check
            )
            grafting.perform(how, key)
            grafted = how.sent_bytes
            if _is(objects.head(key), sha256, part, source):
                return grafted
        with source.open(part, advance=reporter.advance) as body:
            sent = objects.put(key, body, sha256=sha256)
            # Something stands there: another publisher was faster, or it is damaged and to be replaced.
            if not sent and not _is(objects.head(key), sha256, part, source):
                body.seek(0)
                sent = objects.put(key, body, sha256=sha256, absent=False)
        return grafted + (part.size if sent else 0)

    pieces = [piece for piece in source.pieces() if piece[0] in missing]
    if not pieces:
        return 0
    return sum(in_parallel(send, pieces))


def compose(objects: Objects, key: str, keys: Keys, source: LayerZip) -> int:
    """
    Have S3 put the layer together at *key* from stored parts and a tail that is sent; return how many bytes were sent.

    Whatever stood there and was not the layer is replaced. Raises IntegrityError where the result is not the layer.
    """
    if objects.head(key) is not None:
        if is_composed(objects, key, source):
            return 0
        objects.delete(key)
    if source.parts:
        _from_parts(objects, key, keys, source)
        sent = source.layout.tail_bytes
    else:
        with source.open_whole() as body:
            objects.put(key, body, sha256=source.sha256)
        sent = source.layout.zipped_bytes
    # A reply can get lost, and a publisher can be overtaken: what counts is what stands there.
    if not is_composed(objects, key, source):
        raise IntegrityError(f"`s3://{objects.bucket}/{key}` is not the layer that was put together", hint="run again")
    return sent


def prove(objects: Objects, key: str, source: LayerZip) -> str:
    """
    Make sure that what stands at *key* is exactly the parts of *source*, of which this machine has only some.

    S3 tells the SHA-256 of the SHA-256 of what it has put together: where it does, return nothing. Where it does not, read
    all of it back, and return the SHA-256 of the whole. Raises IntegrityError for anything else, which is deleted.
    """
    stored = objects.head(key)
    if stored is not None and stored.composite_sha256 == source.composite_sha256:
        return ""
    whole = hashlib.sha256()
    sizes = [*(part.size for part in source.layout.parts), source.layout.tail_bytes]
    start = 0
    same = stored is not None and stored.composite_sha256 is None
    for size, sha256 in zip(sizes, (*source.parts, source.tail_sha256), strict=True):
        same = same and _hash(objects, key, start, size, whole) == sha256
        start += size
    if not same:
        objects.delete(key)
        raise IntegrityError(f"`s3://{objects.bucket}/{key}` is not the layer that was put together", hint="run again")
    return whole.hexdigest()


def _hash(objects: Objects, key: str, start: int, size: int, whole: hashlib._Hash) -> str:
    digest = hashlib.sha256()
    for first in range(start, start + size, _RANGE_BYTES):
        content = objects.get_range(key, first, min(_RANGE_BYTES, start + size - first)) or b""
        digest.update(content)
        whole.update(content)
    return digest.hexdigest()


def _from_parts(objects: Objects, key: str, keys: Keys, source: LayerZip) -> None:
    upload_id = objects.begin(key)
    done = False
    try:
        try:
            objects.complete(key, upload_id, _assemble(objects, key, upload_id, keys, source))
        except AwsError:
            # Whoever is faster gives up the uploads of everybody else, but what they were for is there then.
            if not is_composed(objects, key, source):
                raise
        done = True
    finally:
        if not done:
            # What ended the upload is more interesting than that giving it up failed, too; it is found and given up later.
            with suppress(AwsError):
                objects.abort(key, upload_id)
    # Nobody needs those that a killed publisher left, or that were begun twice because a reply got lost.
    for upload in list(objects.unfinished(key)):
        if upload.key == key:
            objects.abort(key, upload.id)


def _assemble(objects: Objects, key: str, upload: str, keys: Keys, source: LayerZip) -> Sequence[SentPart]:
    def copy(numbered: tuple[int, str]) -> SentPart:
        number, sha256 = numbered
        sent = objects.copy_part(key, upload, CopySource(number=number, key=keys.part(sha256)))
        if sent.sha256 not in (None, sha256):
            raise IntegrityError(
                f"`s3://{objects.bucket}/{keys.part(sha256)}` is not what its name says",
                hint="run again: it is replaced",
            )
        return sent

    sent = in_parallel(copy, enumerate(source.parts, 1))
    with source.open_tail() as body:
        number = len(sent) + 1
        sent.append(objects.send_part(key, upload, number, body, sha256=source.tail_sha256))
    return sent
