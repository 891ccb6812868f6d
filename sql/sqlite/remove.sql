DROP TABLE IF EXISTS larder_versions;
