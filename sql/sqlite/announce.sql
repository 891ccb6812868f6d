UPDATE larder_versions SET version = version + 1 WHERE table_name = {name}
