"""Readers of each data set's official form, one module a form; `forms` names them and recognises them by content."""
