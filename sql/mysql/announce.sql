BEGIN
    DECLARE tried, mine INT DEFAULT 0;
    DECLARE is_free INT DEFAULT NULL;
    DECLARE CONTINUE HANDLER FOR NOT FOUND SET is_free = NULL;
    -- A slot that no other transaction has; should all be taken, whoever has the first is waited for.
    search: LOOP
        SET mine = (CONNECTION_ID() + tried) % 64;
        SELECT 1 INTO is_free FROM larder_versions WHERE table_name = {name} AND slot = mine FOR UPDATE SKIP LOCKED;
        IF is_free IS NOT NULL OR tried = 64 THEN
            LEAVE search;
        END IF;
        SET tried = tried + 1;
    END LOOP;
    UPDATE larder_versions SET version = version + 1 WHERE table_name = {name} AND slot = mine;
END
