//! Tells which columns of a query of MySQL meet other values, and which are only passed on.
//!
//! MySQL makes a moment of a time of day by adding today's date, wherever the two meet: in a comparison, a UNION, a
//! COALESCE, a join by columns of one name, an argument of a function. Which columns are times of day the catalog knows; which
//! expressions are, the text mostly tells.
//!
//! In: the tree and the tokens. Out: names, and a yes wherever it is not clearly no. What is passed on is a bare column
//! among the results of the outermost query, or what that is sorted or grouped by; all else counts as met.
//! It never asks for the type of a column.

use std::collections::{BTreeSet, HashMap, HashSet};

use sqlparser::ast::{
    DataType, Expr, Function, FunctionArgumentClause, FunctionArguments, GroupByExpr, Ident, ObjectNamePart,
    OrderByKind, Query, Select, SelectItem, SetExpr, Statement,
};

use super::facts::Dialect;
use super::fold::{fold, fold_token};
use super::lexer::Token;

/// What the outermost query passes on.
#[derive(Debug, Default)]
pub(super) struct PassedOn {
    /// How often each name is that of a column which is passed on, or of a result.
    names: HashMap<String, usize>,
    /// A result by its own name, and the names of the column behind it; none of a time of day that is made here.
    renamed: Vec<(String, Vec<String>)>,
    results: HashSet<*const Expr>,
    /// Asterisks among the results.
    pub(super) asterisks: usize,
}

impl PassedOn {
    pub(super) fn by(statement: &Statement) -> Self {
        let mut passed = Self::default();
        let Statement::Query(query) = statement else { return passed };
        let mut query: &Query = query;
        let mut sorted = Vec::new();
        loop {
            if let Some(OrderByKind::Expressions(by)) = query.order_by.as_ref().map(|order| &order.kind) {
                sorted.extend(by.iter().map(|by| &by.expr));
            }
            match query.body.as_ref() {
                SetExpr::Select(select) => {
                    passed.select(select, &sorted);
                    return passed;
                }
                SetExpr::Query(inner) => query = inner,
                _ => return passed,
            }
        }
    }

    fn select(&mut self, select: &Select, sorted: &[&Expr]) {
        let grouped: &[Expr] = match &select.group_by {
            GroupByExpr::Expressions(by, _) => by,
            GroupByExpr::All(_) => &[],
        };
        let mut plain = select.having.is_none();
        for by in sorted.iter().copied().chain(grouped) {
            plain &= !column(by).is_empty() || matches!(by, Expr::Value(_));
            self.note(column(by));
        }
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    self.note(column(expr));
                    // It is called by its text, where it may be called at all.
                    if plain {
                        self.results.insert(expr);
                    }
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    self.note(column(expr));
                    // One that is written like a text is no identifier among the tokens.
                    if matches!(alias.quote_style, None | Some('`')) {
                        self.note(vec![name(alias)]);
                    }
                    self.renamed.push((name(alias), column(expr)));
                    if plain {
                        self.results.insert(expr);
                    }
                }
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => self.asterisks += 1,
                SelectItem::ExprWithAliases { .. } => {}
            }
        }
    }

    fn note(&mut self, names: Vec<String>) {
        for name in names {
            *self.names.entry(name).or_default() += 1;
        }
    }

    /// Whether a time of day that is made by this expression meets another value.
    pub(super) fn makes_time_of_day(&self, expr: &Expr) -> bool {
        is_time_of_day(expr) && !self.results.contains(&std::ptr::from_ref(expr))
    }

    /// The names of columns that may meet other values, in lower case; among them may be other names.
    pub(super) fn met(&self, tokens: &[Token<'_>]) -> BTreeSet<String> {
        let mut counted: HashMap<String, usize> = HashMap::new();
        for token in tokens.iter().filter(|token| token.is_identifier()) {
            *counted.entry(fold_token(token, Dialect::MySql).to_lowercase()).or_default() += 1;
        }
        let mut met: BTreeSet<String> = counted
            .into_iter()
            .filter(|(name, times)| *times > self.names.get(name).copied().unwrap_or_default())
            .map(|(name, _)| name)
            .collect();
        let behind =
            self.renamed.iter().filter(|(alias, _)| met.contains(alias)).flat_map(|(_, column)| column.clone());
        met.append(&mut behind.collect());
        met
    }
}

fn name(ident: &Ident) -> String {
    fold(&ident.value, ident.quote_style, Dialect::MySql).to_lowercase()
}

/// The names of a bare column; none of anything else.
fn column(expr: &Expr) -> Vec<String> {
    match expr {
        Expr::Identifier(ident) => vec![name(ident)],
        Expr::CompoundIdentifier(idents) => idents.iter().map(name).collect(),
        _ => Vec::new(),
    }
}

/// Whether an expression may be a time of day that comes from no column and no argument.
fn is_time_of_day(expr: &Expr) -> bool {
    let is_time = |data_type: &DataType| matches!(data_type, DataType::Time(..));
    match expr {
        Expr::Cast { data_type, .. } | Expr::Convert { data_type: Some(data_type), .. } => is_time(data_type),
        Expr::TypedString(typed) => is_time(&typed.data_type),
        Expr::Function(function) => called(function),
        _ => false,
    }
}

fn called(function: &Function) -> bool {
    const MAKERS: &[&str] = &["addtime", "maketime", "sec_to_time", "str_to_date", "subtime", "time", "timediff"];
    let returning = match &function.args {
        FunctionArguments::List(list) => list.clauses.iter().any(|clause| {
            matches!(clause, FunctionArgumentClause::JsonReturningClause(returning) if matches!(returning.data_type, DataType::Time(..)))
        }),
        FunctionArguments::None | FunctionArguments::Subquery(_) => false,
    };
    returning
        || match function.name.0.last() {
            Some(ObjectNamePart::Identifier(ident)) => MAKERS.contains(&&*name(ident)),
            _ => false,
        }
}
