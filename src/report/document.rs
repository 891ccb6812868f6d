//! What a report is made of, however it looks: sections with lists and tables.

/// A part of a report.
pub(crate) struct Section {
    pub title: &'static str,
    pub body: Body,
    /// Rows that were left off.
    more: usize,
}

impl Section {
    pub fn new(title: &'static str, body: Body) -> Self {
        Self { title, body, more: 0 }
    }

    /// With the first rows only.
    pub fn at_most(mut self, most: usize) -> Self {
        let (Body::Numbered(rows) | Body::Points(rows) | Body::Table(_, rows)) = &mut self.body;
        self.more = rows.len().saturating_sub(most);
        rows.truncate(most);
        self
    }

    /// What was left off, as a line below the others.
    pub fn more(&self) -> Option<String> {
        left_off(self.more)
    }
}

/// Says how many rows are not shown, if any.
pub(crate) fn left_off(rows: usize) -> Option<String> {
    (rows > 0).then(|| format!("and {rows} more: JSON has them all"))
}

pub(crate) enum Body {
    /// In order of weight.
    Numbered(Vec<Vec<Cell>>),
    Points(Vec<Vec<Cell>>),
    /// What is in the last column is to the left.
    Table(&'static [&'static str], Vec<Vec<Cell>>),
}

impl Body {
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Numbered(rows) | Self::Points(rows) | Self::Table(_, rows) => rows.is_empty(),
        }
    }
}

pub(crate) enum Cell {
    /// A sentence or a number.
    Text(String),
    /// What is written as it is: SQL, a name, a place in the code.
    Code(String),
}

pub(crate) fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

pub(crate) fn code(text: impl Into<String>) -> Cell {
    Cell::Code(text.into())
}
