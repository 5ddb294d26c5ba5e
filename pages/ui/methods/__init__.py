"""Methods: what each needs and does, one as its paper and its source have it, two beside each other."""
