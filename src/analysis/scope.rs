//! Which names stand for a WITH query at a point of the statement, and so for no table.

use sqlparser::ast::{Query, SetExpr};

use super::facts::Dialect;
use super::fold::fold;

/// The WITH lists that surround the point which the walk has reached, the outermost first.
#[derive(Debug, Default)]
pub(super) struct Scopes {
    frames: Vec<Frame>,
}

/// One query's WITH list; empty for a query without one.
#[derive(Debug)]
struct Frame {
    names: Vec<String>,
    /// The addresses of the queries behind the names: how the walk, which meets queries one by one, knows them again.
    queries: Vec<*const Query>,
    /// Whether each is a UNION, without which it cannot refer to itself.
    unions: Vec<bool>,
    recursive: bool,
    /// The query of the list that the walk is in.
    inside: Option<usize>,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Table,
    WithQuery,
    /// SQLite says that a WITH query refers to itself in a circle, and MariaDB and MySQL differ; a table of that name may
    /// be meant.
    Either,
}

impl Scopes {
    pub(super) fn enter(&mut self, query: &Query, dialect: Dialect) {
        let address: *const Query = query;
        if let Some(frame) = self.frames.last_mut()
            && let Some(index) = frame.queries.iter().position(|&known| known == address)
        {
            frame.inside = Some(index);
        }
        let list = query.with.as_ref();
        let tables = list.map_or(&[][..], |with| &with.cte_tables[..]);
        self.frames.push(Frame {
            names: tables.iter().map(|cte| fold(&cte.alias.name.value, cte.alias.name.quote_style, dialect)).collect(),
            queries: tables.iter().map(|cte| &raw const *cte.query).collect(),
            unions: tables.iter().map(|cte| matches!(*cte.query.body, SetExpr::SetOperation { .. })).collect(),
            recursive: list.is_some_and(|with| with.recursive),
            inside: None,
        });
    }

    pub(super) fn leave(&mut self, query: &Query) {
        self.frames.pop();
        let address: *const Query = query;
        if let Some(frame) = self.frames.last_mut()
            && frame.inside.is_some_and(|index| frame.queries.get(index) == Some(&address))
        {
            frame.inside = None;
        }
    }

    /// What an unqualified, folded name stands for here.
    pub(super) fn meaning(&self, name: &str, dialect: Dialect) -> Meaning {
        let mut itself = false;
        // MariaDB, within a WITH query, sees a table rather than the WITH query of that name in a list further out.
        let mut behind = false;
        for frame in self.frames.iter().rev() {
            for (index, _) in frame.names.iter().enumerate().filter(|(_, known)| *known == name) {
                let visible = match (frame.inside, dialect) {
                    (None, _) => true,
                    (Some(inside), _) if index < inside => true,
                    // SQLite sees the whole list from everywhere, with or without RECURSIVE.
                    (Some(inside), Dialect::Sqlite) if index == inside && frame.unions.get(index) == Some(&false) => {
                        itself = true;
                        true
                    }
                    (Some(_), Dialect::Sqlite) => true,
                    (Some(_), Dialect::Postgres) => frame.recursive,
                    (Some(inside), Dialect::MySql) => frame.recursive && index == inside,
                };
                if visible {
                    return if itself || behind { Meaning::Either } else { Meaning::WithQuery };
                }
            }
            behind |= dialect == Dialect::MySql && frame.inside.is_some();
        }
        Meaning::Table
    }
}
