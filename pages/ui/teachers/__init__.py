"""Teachers on a page: the zoo, training one, bringing one."""
