"""Tests of the web server of `serve`."""
