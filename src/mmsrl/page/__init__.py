"""Pages of sections: everything about one section in an HTML page, and the card that the report has of it."""
