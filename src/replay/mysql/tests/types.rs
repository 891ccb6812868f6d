//! Every type sqlx knows, with NULL and extremes of it.

use super::*;

/// A type and values of it, as literals. A strict server would refuse some of them.
const TYPES: &[(&str, &[&str])] = &[
    ("BOOLEAN", &["TRUE", "FALSE", "-128"]),
    ("TINYINT", &["-128", "127", "0"]),
    ("TINYINT(1) UNSIGNED", &["0", "1", "255"]),
    ("TINYINT UNSIGNED", &["255", "0"]),
    ("TINYINT(3) UNSIGNED ZEROFILL", &["7", "255"]),
    ("SMALLINT", &["-32768", "32767"]),
    ("SMALLINT UNSIGNED", &["65535"]),
    ("MEDIUMINT", &["-8388608", "8388607"]),
    ("MEDIUMINT UNSIGNED", &["16777215"]),
    ("INT", &["-2147483648", "2147483647"]),
    ("INT UNSIGNED", &["4294967295"]),
    ("INT(8) ZEROFILL", &["42"]),
    ("BIGINT", &["-9223372036854775808", "9223372036854775807"]),
    ("BIGINT UNSIGNED", &["18446744073709551615"]),
    ("FLOAT", &["0", "-0.0", "1.5", "3.402823e38", "1.17549e-38"]),
    ("FLOAT UNSIGNED", &["0.1"]),
    ("DOUBLE", &["0", "-0.0", "-2.25e300", "5e-324", "1.7976931348623157e308"]),
    ("DOUBLE(10,3) ZEROFILL", &["1.5"]),
    (
        "DECIMAL(65,30)",
        &[
            "99999999999999999999999999999999999.999999999999999999999999999999",
            "-0.000000000000000000000000000001",
            "0",
        ],
    ),
    ("DECIMAL(65,0)", &["99999999999999999999999999999999999999999999999999999999999999999", "-1"]),
    ("DECIMAL(10,2) UNSIGNED ZEROFILL", &["0.01", "99999999.99"]),
    ("DECIMAL(28,10)", &["-123456789012345678.0123456789"]),
    (
        "DATE",
        &[
            "'1000-01-01'",
            "'9999-12-31'",
            "'2024-02-29'",
            "'0000-00-00'",
            "'2024-00-00'",
            "'2024-01-00'",
            "'0001-01-01'",
        ],
    ),
    ("TIME", &["'00:00:00'", "'-12:34:56'", "'838:59:59'", "'-838:59:59'", "'26:00:00'"]),
    (
        "TIME(6)",
        &["'-838:59:58.999999'", "'100:00:00.000001'", "'23:59:59.999999'", "'-00:00:00.000001'", "'00:00:00'"],
    ),
    ("TIME(3)", &["'01:02:03.004'"]),
    (
        "DATETIME",
        &[
            "'1000-01-01 00:00:00'",
            "'9999-12-31 23:59:59'",
            "'0000-00-00 00:00:00'",
            "'2024-00-00 01:02:03'",
            "'2024-01-01'",
        ],
    ),
    (
        "DATETIME(6)",
        &["'9999-12-31 23:59:59.999999'", "'0000-00-00'", "'2024-01-01 00:00:00.000001'", "'2024-01-00 00:00:00.5'"],
    ),
    ("TIMESTAMP NULL", &["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'0000-00-00 00:00:00'"]),
    ("TIMESTAMP(6) NULL", &["'2038-01-19 03:14:07.999999'", "'2024-01-01 00:00:00'", "'0000-00-00'"]),
    ("YEAR", &["1901", "2155", "0", "'70'"]),
    ("BIT(1)", &["b'0'", "b'1'"]),
    ("BIT(7)", &["b'1010101'"]),
    ("BIT(17)", &["b'10101010101010101'", "0"]),
    ("BIT(33)", &["8589934591"]),
    ("BIT(64)", &["18446744073709551615", "b'1111111100000000'", "0"]),
    ("CHAR(10)", &["''", "'h\u{e4}\u{df}  '", "'1'"]),
    ("CHAR(10) CHARACTER SET latin1", &["'h\u{e4}\u{df}'", "''"]),
    ("CHAR(10) COLLATE utf8mb4_bin", &["'b'"]),
    ("CHAR(0)", &["''"]),
    ("CHAR(36) CHARACTER SET ascii", &["'67e55044-10b1-426f-9247-bb680e5fe0c8'"]),
    ("VARCHAR(300)", &["''", "'x\u{1f600}y'", "repeat('\u{e9}', 250)", "repeat('\u{e9}', 300)", "'sad'", "'[1, 2]'"]),
    ("VARCHAR(50) CHARACTER SET latin1", &["'lati\u{f1}'"]),
    ("VARCHAR(50) CHARACTER SET latin1 COLLATE latin1_bin", &["'lati\u{f1}'"]),
    ("VARCHAR(50) CHARACTER SET ascii COLLATE ascii_bin", &["'ascii'", "'127.0.0.1'"]),
    ("VARCHAR(50) CHARACTER SET binary", &["'bytes'"]),
    ("VARCHAR(50) COLLATE utf8mb4_unicode_ci", &["'\u{e9}'"]),
    ("VARCHAR(50) COLLATE utf8mb4_uca1400_ai_ci", &["'\u{e9}'"]),
    ("VARCHAR(50) CHARACTER SET utf8mb3", &["'\u{e9}'"]),
    ("VARCHAR(50) CHARACTER SET utf16", &["'\u{1f600}'"]),
    ("VARCHAR(50) CHARACTER SET sjis", &["'\u{65e5}'"]),
    ("TINYTEXT", &["'tiny'", "''", "repeat('x', 255)"]),
    ("TEXT", &["'text \u{fc}'", "repeat('z', 60000)"]),
    ("MEDIUMTEXT CHARACTER SET latin1", &["'medium \u{f1}'"]),
    ("LONGTEXT COLLATE utf8mb4_bin", &["'long \u{1f600}'", "repeat('q', 70000)"]),
    ("BINARY(4)", &["x'00ff0102'", "'a'", "''"]),
    ("BINARY(16)", &["x'67e5504410b1426f9247bb680e5fe0c8'"]),
    ("VARBINARY(300)", &["x'00'", "x''", "repeat('b', 280)", "x'ff'"]),
    ("TINYBLOB", &["x'01'", "x''"]),
    ("BLOB", &["x'ff00ff'"]),
    ("MEDIUMBLOB", &["x'ff00ff'"]),
    ("LONGBLOB", &["x'deadbeef'", "repeat(x'ff', 1048576)"]),
    ("ENUM('sad', 'happy', '\u{fc}')", &["'sad'", "'\u{fc}'", "3", "''"]),
    ("ENUM('A', 'B') CHARACTER SET binary", &["'A'"]),
    ("SET('x', 'y', 'z')", &["''", "'x'", "'x,z'"]),
    ("JSON", &["'null'", "'{\"a\": [1, 1.0,  \"x\"], \"a\": 2}'", "'[1, 2]'", "'\"\"'"]),
    ("GEOMETRY", &["ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('LINESTRING(0 0,1 1)', 4326)"]),
    ("POINT", &["Point(1, -2.5)"]),
    ("POLYGON", &["ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))')"]),
    ("UUID", &["'67e55044-10b1-426f-9247-bb680e5fe0c8'", "'00000000-0000-0000-0000-000000000000'"]),
    ("INET6", &["'::1'", "'1.2.3.4'", "'fe80::1'", "'::'"]),
    ("INET4", &["'1.2.3.4'", "'255.255.255.255'"]),
];

/// A table of one type: as it is, in a key, and never NULL.
async fn fill(scene: &mut Scene, table: &str, name: &str, values: &[&str]) {
    let must = format!("{} NOT NULL", name.trim_end_matches(" NULL"));
    scene.run(&format!("CREATE TABLE {table} (id INT PRIMARY KEY AUTO_INCREMENT, v {name}, must {must})")).await;
    for value in values {
        scene.run(&format!("INSERT INTO {table} (v, must) VALUES ({value}, {value}), (NULL, {value})")).await;
    }
}

#[tokio::test]
async fn every_type_comes_back() {
    let mut scene = Scene::new().await;
    scene.run("SET sql_mode = ''").await;
    for (at, (name, values)) in TYPES.iter().enumerate() {
        fill(&mut scene, &format!("t{at}"), name, values).await;
        let rows = scene.comes_back(&format!("SELECT v, must, id, v AS again FROM t{at} ORDER BY id")).await;
        assert_eq!(rows.len(), 2 * values.len(), "{name}");
        scene.comes_back(&format!("SELECT v, count(*), max(v), min(must) FROM t{at} GROUP BY v")).await;
        scene.comes_back(&format!("SELECT v FROM t{at} UNION ALL SELECT NULL")).await;
    }
    // Many of them in one row. A server joins 61 tables at most.
    let tables: Vec<_> = (0..TYPES.len()).collect();
    for tables in tables.chunks(TYPES.len().div_ceil(2)) {
        let columns: Vec<_> = tables.iter().map(|at| format!("t{at}.v AS c{at}, t{at}.must")).collect();
        let joins: Vec<_> = tables.iter().map(|at| format!("JOIN t{at} ON t{at}.id = i.seq")).collect();
        let sql = format!("SELECT {} FROM seq_1_to_2 i {}", columns.join(", "), joins.join(" "));
        let rows = scene.comes_back(&sql).await;
        assert_eq!((rows.len(), rows[0].len()), (2, 2 * tables.len()));
    }
}

#[tokio::test]
async fn every_width_of_bits_comes_back() {
    let mut scene = Scene::new().await;
    let columns: Vec<_> = (1..=64).map(|width| format!("b{width} BIT({width})")).collect();
    let ones: Vec<_> = (1..=64).map(|width| (u64::MAX >> (64 - width)).to_string()).collect();
    scene.run(&format!("CREATE TABLE bits ({})", columns.join(", "))).await;
    let zeros = vec!["0"; 64].join(", ");
    scene.run(&format!("INSERT INTO bits VALUES ({}), ({zeros})", ones.join(", "))).await;
    let rows = scene.comes_back("SELECT * FROM bits").await;
    assert_eq!(rows[0].get::<u64, _>("b64"), u64::MAX);
}

#[tokio::test]
async fn what_is_computed_comes_back() {
    let mut scene = Scene::new().await;
    for sql in [
        "SELECT 1, -1.5, 1e10, 18446744073709551615, TRUE, NULL, 'x', x'00ff', b'101', 0x41",
        "SELECT now(6), curdate(), curtime(6), utc_timestamp(3), sysdate(), unix_timestamp(), from_unixtime(0.5)",
        "SELECT timediff('12:00', '13:30:00.5'), addtime('800:00:00', '38:00:00'), sec_to_time(-1.25), maketime(-12, 0, 1.5)",
        "SELECT cast(1 AS CHAR), cast('1' AS BINARY), cast(1.5 AS DECIMAL(10,3)), cast('1.5' AS DOUBLE), cast(3 AS UNSIGNED)",
        "SELECT _latin1'\u{e4}', _utf8mb4'\u{e4}' COLLATE utf8mb4_bin, convert('\u{e4}' USING latin1), 'x' COLLATE utf8mb4_uca1400_ai_ci",
        "SELECT json_extract('{\"a\": [1]}', '$.a'), json_object('a', 1), json_arrayagg(1), group_concat('x')",
        "SELECT sum(1), sum(1.5), sum(1e0), avg(1), bit_or(1), count(*), stddev(1), max('x')",
        "SELECT 1 = 1, 1 <=> NULL, NOT 1, 1 | 2, 7 DIV 2, 7 / 2, 7 % 2, -9223372036854775808",
        "SELECT point(1, 2), st_astext(point(1, 2)), uuid(), inet6_aton('::1'), inet_aton('1.2.3.4'), md5('x'), rand()",
        "SELECT repeat('x', 250), repeat('x', 251), repeat('x', 65535), repeat('x', 65536), space(0)",
        "SELECT DATE'2024-02-29', TIMESTAMP'2024-01-01 01:02:03.000004', TIME'-00:00:01'",
        "SELECT interval(3, 1, 2), if(1, 'a', 2), coalesce(NULL, 1), nullif(1, 1), greatest('a', 'b'), elt(1, 'x')",
        "SELECT @@version, @@sql_mode, user(), database(), connection_id(), found_rows()",
    ] {
        scene.comes_back(sql).await;
    }
}

/// sqlx says that a date of zeros is NULL, although it has bytes: both are kept.
#[tokio::test]
async fn dates_of_zeros_are_null_and_have_bytes() {
    let mut scene = Scene::new().await;
    scene.run("SET sql_mode = ''; CREATE TABLE z (d DATE, n DATE); INSERT INTO z VALUES ('0000-00-00', NULL)").await;
    let (_, stored) = scene.load("SELECT d, n FROM z").await;
    assert_eq!(*stored.bytes, *b"\0\0\0\x01\0\xff\xff\xff\xff");
    let rows = scene.replay.replay(&stored).await.unwrap().rows;
    assert!(rows[0].try_get_raw("d").unwrap().is_null() && rows[0].try_get_raw("n").unwrap().is_null());
    assert_eq!(rows[0].try_get_unchecked::<&[u8], _>("d").unwrap(), b"\0");
    assert!(rows[0].try_get_unchecked::<&[u8], _>("n").is_err());
}

#[tokio::test]
async fn custom_types_decode() {
    let mut scene = Scene::new().await;
    scene
        .run("CREATE TABLE m (mood ENUM('sad', 'happy'), t TIME(6)); INSERT INTO m VALUES ('happy', '-30:00:00.5')")
        .await;
    let (_, stored) = scene.load("SELECT mood, t FROM m").await;
    let rows = scene.replay.replay(&stored).await.unwrap().rows;
    assert_eq!(rows[0].get::<alike::Mood, _>("mood"), alike::Mood::Happy);
    let time = rows[0].get::<sqlx::mysql::types::MySqlTime, _>("t");
    assert!(time.sign().is_negative() && (time.hours(), time.minutes(), time.microseconds()) == (30, 0, 500_000));
}

/// Values that were bound, and types that only a bound value has.
#[tokio::test]
async fn results_of_bound_arguments_come_back() {
    let mut scene = Scene::new().await;
    let sql = text("SELECT ? AS a, ? AS b, ? AS c, ? AS d, ? AS e, ? AS f");
    let rows = sqlx::query(sql)
        .bind(u64::MAX)
        .bind(-1.5_f32)
        .bind("text")
        .bind(&b"\0\xff"[..])
        .bind(None::<i8>)
        .bind(sqlx::types::Json(vec![1, 2]))
        .fetch_all(&mut scene.connection)
        .await
        .unwrap();
    let stored = scene.keep("SELECT ?", &rows, None).await.unwrap();
    alike::assert_same(&rows, &scene.replay.replay(&stored).await.unwrap().rows);
}
