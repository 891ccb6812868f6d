DROP TRIGGER IF EXISTS "larder_insert_{id}";
DROP TRIGGER IF EXISTS "larder_update_{id}";
DROP TRIGGER IF EXISTS "larder_delete_{id}";
