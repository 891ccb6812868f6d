DROP FUNCTION IF EXISTS larder.announce();
DROP TABLE IF EXISTS larder.versions;
DROP SCHEMA IF EXISTS larder;
