"""Tests of the library's behaviour in processes that belong to others."""
