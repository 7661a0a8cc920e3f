"""Top of the pipeline: composing a configuration and running its stages, train → infer → baseline → report."""
