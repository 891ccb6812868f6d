//! What INSERT, UPDATE, DELETE and MERGE write.

use sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, FromTable, Insert, Merge, MergeAction, ObjectName, SelectItem, TableFactor,
    TableObject, TableWithJoins, Update,
};

use super::facts::{Dialect, Kind};
use super::name::Name;
use super::verbs::Verbs;
use super::walk::Walk;

pub(super) fn insert(walk: &mut Walk<'_>, insert: &Insert) {
    walk.found.kind = Kind::Write;
    match &insert.table {
        TableObject::TableName(name) => walk.writes(name, inserted(insert)),
        TableObject::TableFunction(_) | TableObject::TableQuery(_) => {
            walk.found.not_understood("It inserts into something that is no table.");
        }
    }
    returning(walk, insert.returning.as_deref());
    let foreign = insert.overwrite
        || insert.output.is_some()
        || insert.settings.is_some()
        || insert.format_clause.is_some()
        || insert.multi_table_insert_type.is_some()
        || !insert.multi_table_into_clauses.is_empty()
        || !insert.multi_table_when_clauses.is_empty()
        || insert.multi_table_else_clause.is_some();
    if foreign {
        walk.found.not_understood("A clause of the INSERT is not part of this dialect.");
    }
}

pub(super) fn update(walk: &mut Walk<'_>, update: &Update) {
    walk.found.kind = Kind::Write;
    returning(walk, update.returning.as_deref());
    if update.output.is_some() {
        walk.found.not_understood("OUTPUT is not part of this dialect.");
    }
    if update.table.joins.is_empty() {
        return factor(walk, &update.table.relation, Verbs::UPDATE);
    }
    // MySQL: the columns that are set tell which of the joined tables is written.
    let joined = Joined::of(std::slice::from_ref(&update.table));
    match assigned_tables(&update.assignments) {
        Some(qualifiers) if !joined.derived => {
            qualifiers.into_iter().for_each(|qualifier| joined.write(walk, qualifier, Verbs::UPDATE))
        }
        _ => joined.tables.iter().for_each(|table| table.write(walk, Verbs::UPDATE)),
    }
    if joined.derived && joined.tables.is_empty() {
        walk.found.not_understood("The tables it updates could not be told.");
    }
}

pub(super) fn delete(walk: &mut Walk<'_>, delete: &Delete) {
    walk.found.kind = Kind::Write;
    returning(walk, delete.returning.as_deref());
    if delete.output.is_some() {
        walk.found.not_understood("OUTPUT is not part of this dialect.");
    }
    let FromTable::WithFromKeyword(from) = &delete.from else {
        walk.found.not_understood("DELETE without FROM is not part of this dialect.");
        return;
    };
    let several = walk.dialect == Dialect::MySql && (!delete.tables.is_empty() || delete.using.is_some());
    if !several {
        match from.as_slice() {
            [TableWithJoins { relation, joins }] if joins.is_empty() && delete.tables.is_empty() => {
                factor(walk, relation, Verbs::DELETE)
            }
            _ => walk.found.not_understood("The table it deletes from could not be told."),
        }
        return;
    }
    // MySQL: `DELETE a, b FROM ...` or `DELETE FROM a, b USING ...`, where a and b may be aliases.
    let mut joined = Joined::of(from);
    if let Some(using) = &delete.using {
        let targets = joined.tables;
        joined = Joined::of(using);
        for target in targets {
            walk.is_done(target.name);
            joined.write(walk, target.name, Verbs::DELETE);
        }
    }
    delete.tables.iter().for_each(|target| joined.write(walk, target, Verbs::DELETE));
}

pub(super) fn merge(walk: &mut Walk<'_>, merge: &Merge) {
    walk.found.kind = Kind::Write;
    factor(walk, &merge.table, Verbs::ALL);
    if merge.output.as_ref().is_some_and(|output| matches!(output, sqlparser::ast::OutputClause::Output { .. })) {
        walk.found.not_understood("OUTPUT is not part of this dialect.");
    }
    for clause in &merge.clauses {
        match &clause.action {
            MergeAction::Insert(_)
            | MergeAction::Update(_)
            | MergeAction::Delete { .. }
            | MergeAction::DoNothing { .. } => {}
        }
    }
}

/// What an INSERT does to rows, if it does not replace any.
fn inserted(insert: &Insert) -> Verbs {
    match insert.on {
        None => Verbs::INSERT,
        Some(_) => Verbs::INSERT | Verbs::UPDATE,
    }
}

/// The one table that a statement writes.
fn factor(walk: &mut Walk<'_>, factor: &TableFactor, verbs: Verbs) {
    match factor {
        TableFactor::Table { name, args: None, .. } => walk.writes(name, verbs),
        _ => walk.found.not_understood("It writes something that is no table."),
    }
}

fn returning(walk: &mut Walk<'_>, items: Option<&[SelectItem]>) {
    for item in items.unwrap_or_default() {
        if let SelectItem::ExprWithAlias { alias, .. } = item {
            walk.label(alias);
        }
    }
}

/// The tables that each assignment names, or none if one leaves it open.
fn assigned_tables(assignments: &[Assignment]) -> Option<Vec<&ObjectName>> {
    assignments
        .iter()
        .map(|assignment| match &assignment.target {
            AssignmentTarget::ColumnName(column) if column.0.len() > 1 => Some(column),
            AssignmentTarget::ColumnName(_) | AssignmentTarget::Tuple(_) => None,
        })
        .collect()
}

/// The tables of a FROM list, with their aliases.
struct Joined<'a> {
    tables: Vec<Aliased<'a>>,
    /// It holds a subquery or a function besides.
    derived: bool,
}

struct Aliased<'a> {
    name: &'a ObjectName,
    alias: Option<&'a sqlparser::ast::Ident>,
}

impl Aliased<'_> {
    fn write(&self, walk: &mut Walk<'_>, verbs: Verbs) {
        match walk.parts(self.name) {
            Some(parts) => walk.found.write_by(Name::new(parts), verbs),
            None => walk.found.not_understood("The name of a table could not be read."),
        }
    }
}

impl<'a> Joined<'a> {
    fn of(from: &'a [TableWithJoins]) -> Self {
        let mut joined = Self { tables: Vec::new(), derived: false };
        let mut pending: Vec<&TableWithJoins> = from.iter().collect();
        while let Some(TableWithJoins { relation, joins }) = pending.pop() {
            for factor in std::iter::once(relation).chain(joins.iter().map(|join| &join.relation)) {
                match factor {
                    TableFactor::Table { name, alias, args: None, .. } => {
                        joined.tables.push(Aliased { name, alias: alias.as_ref().map(|alias| &alias.name) });
                    }
                    TableFactor::NestedJoin { table_with_joins, .. } => pending.push(table_with_joins),
                    _ => joined.derived = true,
                }
            }
        }
        joined
    }

    /// Writes the table behind the first part of `target`, or every table that it could be.
    ///
    /// MySQL may compare aliases without regard to case, so they are here.
    fn write(&self, walk: &mut Walk<'_>, target: &ObjectName, verbs: Verbs) {
        let wanted: Vec<String> =
            walk.parts(target).unwrap_or_default().iter().map(|part| part.to_lowercase()).collect();
        let named = |walk: &Walk<'_>, table: &Aliased<'_>| match table.alias {
            Some(alias) => wanted.contains(&walk.fold(alias).to_lowercase()),
            None => {
                let last = walk.parts(table.name).and_then(|parts| parts.last().map(|part| part.to_lowercase()));
                last.is_some_and(|last| wanted.contains(&last))
            }
        };
        let candidates: Vec<&Aliased<'_>> = self.tables.iter().filter(|table| named(walk, table)).collect();
        if candidates.is_empty() {
            walk.found.not_understood("The table it writes could not be told.");
        }
        candidates.into_iter().for_each(|table| table.write(walk, verbs));
    }
}
