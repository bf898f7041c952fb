"""
The numbers of the fields of Perfetto's messages that are written and read here.

Source: ``protos/perfetto/trace`` of https://github.com/google/perfetto (``trace_packet.proto`` and,
in ``track_event``, ``track_event``, ``track_descriptor``, ``thread_descriptor``, ``process_descriptor``,
``counter_descriptor``, ``debug_annotation``, ``source_location``; ``interned_data/interned_data.proto``;
``chrome/chrome_trace_event.proto``), compared with the package `perfetto` by a test.
"""

from __future__ import annotations

__all__ = [
    "EVENTS",
    "OWN_ANNOTATION",
    "THREADS",
    "ChromeEventBundle",
    "DebugAnnotation",
    "InternedData",
    "LegacyEvent",
    "ProcessDescriptor",
    "SourceLocation",
    "ThreadDescriptor",
    "TracePacket",
    "TrackDescriptor",
    "TrackEvent",
]

#: The packet sequences: descriptors of processes and threads, and all else.
THREADS, EVENTS = 1, 2

#: Our own annotations, as JSON, for values that Perfetto has no field for: a number of the range of
#: TracePacket's fields that is left to others (1000 to 1999).
OWN_ANNOTATION = 1847


class TracePacket:
    """
    TracePacket; a trace is a row of them, each field 1 of `Trace`.
    """

    TIMESTAMP, SEQUENCE, TRACK_EVENT, INTERNED, FLAGS = 8, 10, 11, 12, 13
    CHROME_EVENTS, DESCRIPTOR, FIRST = 5, 60, 87
    CLEARED, NEEDS_STATE = 1, 2  # of the flags


class TrackDescriptor:
    """
    TrackDescriptor.
    """

    UUID, NAME, PROCESS, THREAD, PARENT, COUNTER = 1, 2, 3, 4, 5, 8
    CHILD_ORDERING, RANK, MERGE = 11, 12, 15
    EXPLICIT = 3  # of the orderings
    MERGE_NONE = 2  # of the ways to merge siblings
    UNIT_NAME = 6  # CounterDescriptor


class ProcessDescriptor:
    """
    ProcessDescriptor.
    """

    PID, NAME = 1, 6


class ThreadDescriptor:
    """
    ThreadDescriptor.
    """

    PID, TID, SORT, NAME = 1, 2, 3, 5


class TrackEvent:
    """
    TrackEvent.
    """

    CATEGORY_IID, ANNOTATION, LEGACY, TYPE, NAME_IID, TRACK, NAME, CATEGORY = 3, 4, 6, 9, 10, 11, 23, 22
    COUNTER_VALUE, SOURCE_IID, DOUBLE_COUNTER_VALUE = 30, 34, 44
    BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4  # of the types


class LegacyEvent:
    """
    TrackEvent.LegacyEvent.
    """

    PHASE, ID, BIND_TO_ENCLOSING = 2, 6, 12


class DebugAnnotation:
    """
    DebugAnnotation.
    """

    NAME_IID, BOOL, INT, DOUBLE, STRING, JSON, NAME, STRING_IID = 1, 2, 4, 5, 6, 9, 10, 17


class InternedData:
    """
    InternedData; each entry has its number in field 1 and its text in field 2.
    """

    CATEGORIES, NAMES, ANNOTATION_NAMES, SOURCES, STRINGS = 1, 2, 3, 4, 29


class SourceLocation:
    """
    SourceLocation.
    """

    FILE, LINE = 2, 4


class ChromeEventBundle:
    """
    ChromeEventBundle and its ChromeMetadata.
    """

    METADATA = 2
    NAME, JSON = 1, 5
