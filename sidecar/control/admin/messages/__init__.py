"""What goes over the wire: request, query and answer documents, by resource."""
