"""The protocol between processes: messages, encodings and sessions, without input or output."""
