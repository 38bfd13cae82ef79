"""Ray: where accounts live while the cluster runs. The only package that imports ray."""
