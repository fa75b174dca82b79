"""Every command as it is typed: arguments, options and help; what it does is in the modules beside this package."""
