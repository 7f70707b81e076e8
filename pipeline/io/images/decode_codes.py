"""Reason codes of files that are no picture or cannot be decoded: those of `codecs` and `decoding`."""

from __future__ import annotations

from pipeline.core.reason_codes import ReasonCode

STEP = "decoded"
CODES = (
    ReasonCode("truncated", STEP, "Cut off", "The end of the file, or a scan that its pixels need, is missing."),
    ReasonCode("undecodable", STEP, "Damaged", "The file cannot be decoded."),
    ReasonCode("corrupt_data", STEP, "Garbage", "Damaged inside, so that the decoder draws garbage."),
    ReasonCode("too_many_pixels", STEP, "Too many pixels", "Not decoded, for safety."),
    ReasonCode("empty_file", STEP, "Empty file", "The file has no byte."),
    ReasonCode("not_an_image", STEP, "Not an image", "A web page, a text, a video: no picture by its first bytes."),
    ReasonCode("unsupported_format", STEP, "Unsupported format", "A picture that is not opened here, such as HEIC."),
    ReasonCode("too_much_memory", STEP, "Too much memory", "Decoding needed more than the process may have."),
    ReasonCode("too_many_frames", STEP, "Too many frames", "An animation that is too long."),
    ReasonCode("broken_frame", STEP, "Broken frame", "An animation with a frame that is damaged or too large."),
    ReasonCode("decoder_crashed", STEP, "Decoder crashed", "The process that decoded it died."),
    ReasonCode("took_too_long", STEP, "Took too long", "Decoding was given up."),
)
