//! The decisions, on data made by hand.

use super::super::relation::{Class, Kind, Traits};
use super::*;
use crate::analysis::{Dialect, TransactionControl};
use crate::reason::Refusal;

const PLAIN: Traits = Traits {
    system: false,
    temporary: false,
    attached: false,
    unusual_storage: false,
    without_transactions: false,
    row_security: false,
    triggers_hidden: false,
    cascades_from_afar: false,
    volatile_columns: false,
    reads_run_code: false,
    time_of_day: false,
    zoned_time_of_day: false,
};

fn shop() -> Gate {
    let path = ["pg_catalog", "shop", "public"].map(String::from).to_vec();
    let mut gate = Gate::new(Dialect::Postgres, "db", path);
    gate.see_relation("public", "users", Kind::Table, PLAIN);
    gate.see_relation("shop", "users", Kind::Table, PLAIN);
    gate.see_relation("public", "orders", Kind::Table, PLAIN);
    gate.see_relation("public", "We.Ird", Kind::Table, PLAIN);
    gate.see_relation("hidden", "orders", Kind::Table, PLAIN);
    gate.see_function("lower", Class::Vouched);
    gate.see_function("total", Class::Declared);
    gate.see_called_word("total");
    gate.see_function("charge", Class::MayWrite);
    gate.see_operator("@>", Class::Declared);
    gate.see_operator("<#", Class::MayWrite);
    gate
}

#[test]
fn tables_are_resolved_sorted_and_named_once() {
    let gate = shop();
    let expected = Ok(vec!["public.orders".to_owned(), "shop.users".to_owned()]);
    assert_eq!(reading(&gate, &["users", "shop.users", "db.shop.users", "orders"]), expected);
}

#[test]
fn the_first_schema_of_the_path_wins_even_with_a_view() {
    let mut gate = shop();
    assert_eq!(reading(&gate, &["users"]), Ok(vec!["shop.users".to_owned()]));
    gate.see_relation("pg_catalog", "users", Kind::View, Traits { system: true, ..PLAIN });
    assert_eq!(reading(&gate, &["users"]), Err(Reason::System));
    assert_eq!(reading(&gate, &["public.users"]), Ok(vec!["public.users".to_owned()]));
    assert_widens(&gate, "users");
}

#[test]
fn a_name_that_was_not_seen_does_not_pass() {
    let gate = shop();
    for unknown in
        ["nobody", "Users", "shop.orders", "pg_temp.users", "db.shop.orders", "a.db.shop.users", "other.shop.users"]
    {
        assert_eq!(reading(&gate, &[unknown]), Err(Reason::NotAPlainTable), "{unknown}");
        assert_widens(&gate, unknown);
    }
    assert_eq!(reading(&gate, &[]), Err(Reason::NoTables));
    let unknown = Facts { outcome: Outcome::Unknown, ..read(&["users"]) };
    assert_eq!(gate.reads(&unknown).unwrap_err().reason, Reason::NotUnderstood);
}

#[test]
fn each_kind_and_trait_has_its_verdict() {
    use Reason::{NotAPlainTable, System, Temporary};
    let cases = [
        (Kind::View, PLAIN, Some(NotAPlainTable), true),
        (Kind::MaterializedView, PLAIN, None, false),
        (Kind::Foreign, PLAIN, Some(NotAPlainTable), true),
        (Kind::Partitioned, PLAIN, None, false),
        (Kind::Sequence, PLAIN, Some(NotAPlainTable), true),
        (Kind::Virtual, PLAIN, Some(NotAPlainTable), true),
        (Kind::Other, PLAIN, Some(NotAPlainTable), true),
        (Kind::Table, PLAIN, None, false),
        (Kind::Table, Traits { system: true, ..PLAIN }, Some(System), true),
        (Kind::Table, Traits { temporary: true, ..PLAIN }, Some(Temporary), true),
        (Kind::Table, Traits { attached: true, ..PLAIN }, Some(NotAPlainTable), true),
        (Kind::Table, Traits { unusual_storage: true, ..PLAIN }, Some(NotAPlainTable), true),
        (Kind::Table, Traits { row_security: true, ..PLAIN }, None, false),
    ];
    for (kind, traits, refused, widens) in cases {
        let mut gate = shop();
        gate.see_relation("public", "it", kind, traits);
        assert_eq!(reading(&gate, &["it", "users"]).err(), refused, "{kind:?} {traits:?}");
        assert_eq!(gate.table("it").is_none(), refused.is_some(), "{kind:?} {traits:?}");
        if widens {
            assert_widens(&gate, "it");
        } else {
            assert_writes_itself(&gate, "it", "public.it");
        }
        // One of several is enough.
        let both = gate.writes(&write(&["users", "it"]));
        assert_eq!(both == Some(Widened::Everything(Reason::WidensUnknown)), widens, "{kind:?} {traits:?}");
    }
}

#[test]
fn what_a_user_defined_is_refused_wherever_it_may_be_called() {
    let gate = shop();
    let refused = |facts: Facts| gate.reads(&facts).err().map(|refusal| refusal.reason);
    assert_eq!(refused(with_functions(read(&["users"]), &["lower", "upper"])), None);
    assert_eq!(refused(with_functions(read(&["users"]), &["lower", "total"])), Some(Reason::UserFunction));
    assert_eq!(refused(with_functions(read(&["users"]), &["charge"])), Some(Reason::UserFunction));
    assert_eq!(refused(with_operators(read(&["users"]), &["=", "@>"])), Some(Reason::UserOperator));
    assert_eq!(refused(with_operators(read(&["users"]), &["="])), None);
    assert_eq!(refused(with_identifiers(read(&["users"]), &["id", "total"])), Some(Reason::UserFunction));
    assert_eq!(refused(with_identifiers(read(&["users"]), &["id", "charge"])), None, "it takes no row");
    let sentence = gate.reads(&with_functions(read(&["users"]), &["total"])).unwrap_err().sentence;
    assert!(sentence.contains("total"), "{sentence}");
}

#[test]
fn code_that_may_write_changes_everything_wherever_it_is_called() {
    let mut gate = shop();
    let everything = Some(Widened::Everything(Reason::OpaqueStatement));
    assert_eq!(gate.writes(&with_functions(read(&["users"]), &["charge"])), everything);
    assert_eq!(gate.writes(&with_functions(write(&["users"]), &["charge"])), everything);
    assert_eq!(gate.writes(&with_operators(read(&["users"]), &["<#"])), everything);
    assert_eq!(gate.writes(&with_functions(read(&["users"]), &["total", "lower"])), None);
    assert_eq!(gate.writes(&with_operators(read(&["users"]), &["@>"])), None);
    gate.see_called_word("charge");
    assert_eq!(gate.writes(&with_identifiers(read(&["users"]), &["charge"])), everything);
}

#[test]
fn a_call_that_the_text_cannot_judge_is_judged_by_the_catalog() {
    let gate = shop();
    let everything = Some(Widened::Everything(Reason::OpaqueStatement));
    let refusing = |facts: Facts, reasons: &[Reason]| Facts {
        session: SessionEffect::MayChange,
        writes: Writes::Everything,
        refusals: reasons.iter().map(|reason| Refusal::new(*reason, "So.")).collect(),
        ..facts
    };
    let unknown = |functions| refusing(with_functions(read(&["users"]), functions), &[Reason::UnknownFunction]);
    assert_eq!(gate.writes(&unknown(&["total", "lower"])), None);
    assert_eq!(gate.writes(&unknown(&["total", "charge"])), everything);
    assert_eq!(gate.writes(&unknown(&["total", "new"])), everything);
    let calling = || with_functions(read(&["users"]), &["lower"]);
    assert_eq!(gate.writes(&refusing(calling(), &[])), everything, "opaque for another reason");
    for reason in [Reason::NotUnderstood, Reason::TooComplex, Reason::SeveralStatements, Reason::NotARead] {
        assert_eq!(gate.writes(&refusing(calling(), &[Reason::UnknownFunction, reason])), everything, "{reason}");
    }
    let call = Facts { kind: crate::analysis::Kind::Other, ..unknown(&["lower"]) };
    assert_eq!(gate.writes(&call), everything);
}

#[test]
fn opaque_writes_and_new_schemas_change_everything() {
    let gate = shop();
    let schema_change = Facts { schema_change: true, ..write(&["users"]) };
    assert_eq!(gate.writes(&schema_change), Some(Widened::Everything(Reason::SchemaChange)));
    let opaque = Facts { writes: Writes::Everything, ..write(&[]) };
    assert_eq!(gate.writes(&opaque), Some(Widened::Everything(Reason::OpaqueStatement)));
    let prepared = Facts { transaction: Some(TransactionControl::TwoPhase), ..read(&[]) };
    assert_eq!(gate.writes(&prepared), Some(Widened::Everything(Reason::OpaqueStatement)));
    assert_eq!(gate.writes(&write(&[])), Some(Widened::Everything(Reason::WidensUnknown)), "a write to no table");
    assert_eq!(gate.writes(&read(&["nobody"])), None);
    let several = gate.writes(&write(&["users", "orders", "shop.users"]));
    assert_eq!(several, Some(only(&["public.orders", "shop.users"])));
}

#[test]
fn one_objection_to_all_reads_is_enough() {
    let mut gate = shop();
    gate.refuse_reads(Refusal::new(Reason::UserCast, "A cast."));
    gate.widen_writes("a cast");
    assert_eq!(reading(&gate, &["users"]), Err(Reason::UserCast));
    assert_widens(&gate, "users");
    assert_eq!(gate.writes(&read(&["users"])), None);
}

#[test]
fn an_unseen_database_lets_nothing_pass() {
    let gate = Gate::new(Dialect::Postgres, "db", vec!["public".into()]);
    assert_eq!(reading(&gate, &["users"]), Err(Reason::NotAPlainTable));
    assert_widens(&gate, "users");
    assert_eq!(gate.table("users"), None);
}

#[test]
fn names_are_cut_where_the_database_cuts_them() {
    let long = "n".repeat(63);
    // 62 bytes, then a letter of two bytes that does not fit.
    let uneven = format!("{}é", "n".repeat(62));
    let mut gate = shop();
    gate.see_relation("public", &long, Kind::Table, PLAIN);
    gate.see_relation("public", &"n".repeat(62), Kind::Table, PLAIN);
    gate.see_called_word(&long);
    gate.see_function(&long, Class::MayWrite);
    assert_eq!(reading(&gate, &[&format!("{long}nnn")]), Ok(vec![format!("public.{long}")]));
    assert_eq!(reading(&gate, &[&uneven]), Ok(vec![format!("public.{}", "n".repeat(62))]));
    let facts = with_identifiers(read(&["users"]), &[&format!("{long}nnn")]);
    assert_eq!(gate.reads(&facts).unwrap_err().reason, Reason::UserFunction);
    assert_eq!(gate.writes(&facts), Some(Widened::Everything(Reason::OpaqueStatement)));
}

#[test]
fn letters_that_may_fold_are_refused_where_folding_is_unknown() {
    let mut gate = shop();
    gate.see_relation("public", "é", Kind::Table, PLAIN);
    assert_eq!(reading(&gate, &["é"]), Ok(vec!["public.é".to_owned()]));
    gate.trust_ascii_only();
    assert_eq!(reading(&gate, &["é"]), Err(Reason::NotAPlainTable));
    assert_widens(&gate, "é");
    assert!(
        gate.reads(&with_identifiers(read(&["users"]), &["É"])).is_ok(),
        "a column, since no function is called so"
    );
    gate.see_function("é", Class::Declared);
    let facts = with_identifiers(read(&["users"]), &["É"]);
    assert_eq!(gate.reads(&facts).unwrap_err().reason, Reason::UserFunction);
    assert_eq!(gate.writes(&facts), Some(Widened::Everything(Reason::OpaqueStatement)));
}

#[test]
fn a_user_may_write_a_name_as_in_sql_or_as_in_a_report() {
    let mut gate = shop();
    gate.see_relation("public", "Mixed", Kind::Table, PLAIN);
    gate.see_relation("public", "quo\"te", Kind::Table, PLAIN);
    gate.see_relation("public", "🦀 crab", Kind::Table, PLAIN);
    let table = |name: &str| gate.table(name).map(|table| table.0.to_string());
    for (written, meant) in [
        ("users", "shop.users"),
        ("USERS", "shop.users"),
        (" shop . Users ", "shop.users"),
        ("\"users\"", "shop.users"),
        ("db.public.users", "public.users"),
        ("\"We.Ird\"", "public.\"We.Ird\""),
        ("public.\"We.Ird\"", "public.\"We.Ird\""),
        ("\"Mixed\"", "public.Mixed"),
        ("public.Mixed", "public.Mixed"),
        ("\"quo\"\"te\"", "public.\"quo\"\"te\""),
        ("\"🦀 crab\"", "public.🦀 crab"),
    ] {
        assert_eq!(table(written).as_deref(), Some(meant), "{written}");
    }
    for nothing in [
        "",
        " ",
        ".",
        "users.",
        ".users",
        "a..b",
        "\"users",
        "users\"",
        "\"\"",
        "\"users\"x",
        "us ers",
        "We.Ird",
        "nobody",
        "other.shop.users",
        "[users]",
        "`users`",
        "users; drop",
        "'users'",
    ] {
        assert_eq!(table(nothing), None, "{nothing}");
    }
}

#[test]
fn sqlite_names_have_no_case() {
    let mut gate = Gate::new(Dialect::Sqlite, "", ["temp", "main"].map(String::from).to_vec());
    gate.see_relation("main", "Users", Kind::Table, PLAIN);
    gate.see_function("Total", Class::MayWrite);
    gate.see_function("like", Class::Declared);
    for spelling in ["users", "USERS", "Main.uSers"] {
        assert_eq!(reading(&gate, &[spelling]), Ok(vec!["main.users".to_owned()]));
        assert_writes_itself(&gate, spelling, "main.users");
    }
    for spelling in ["users", "\"USERS\"", "[Users]", "`users`", "main.[users]"] {
        assert_eq!(gate.table(spelling), Some(Table("main.users".into())), "{spelling}");
    }
    assert_eq!(reading(&gate, &["x.main.users"]), Err(Reason::NotAPlainTable));
    let call = with_functions(read(&["users"]), &["TOTAL"]);
    assert_eq!(gate.writes(&call), Some(Widened::Everything(Reason::OpaqueStatement)));
    let like = with_operators(read(&["users"]), &["LIKE"]);
    assert_eq!(gate.reads(&like).unwrap_err().reason, Reason::UserOperator);
    gate.see_relation("temp", "users", Kind::Table, Traits { temporary: true, ..PLAIN });
    assert_eq!(reading(&gate, &["users"]), Err(Reason::Temporary));
    assert_eq!(reading(&gate, &["main.users"]), Ok(vec!["main.users".to_owned()]));
}

#[test]
fn ten_thousand_tables_are_looked_up_by_hash() {
    let mut gate = shop();
    for i in 0..10_000 {
        gate.see_relation("public", &format!("t{i}"), Kind::Table, PLAIN);
    }
    let facts: Vec<Facts> = (0..10_000).map(|i| read(&[&format!("t{i}")])).collect();
    let start = std::time::Instant::now();
    for facts in &facts {
        assert_eq!(gate.reads(facts).unwrap().tables.len(), 1);
    }
    assert!(start.elapsed() < std::time::Duration::from_secs(1), "{:?}", start.elapsed());
}
