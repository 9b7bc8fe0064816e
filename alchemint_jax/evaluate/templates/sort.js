// Tables whose head has buttons are sorted by them; what is not known stays last.
for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = head.querySelector('button');
    if (!button) return;
    button.onclick = () => {
      const first = head.dataset.first || 'descending';
      const other = first === 'descending' ? 'ascending' : 'descending';
      const order = head.getAttribute('aria-sort') === first ? other : first;
      for (const each of heads) each.removeAttribute('aria-sort');
      head.setAttribute('aria-sort', order);
      const sign = order === 'ascending' ? 1 : -1;
      const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const compare = (a, b) => {
        const [x, y] = [value(a), value(b)], [p, q] = [parseFloat(x), parseFloat(y)];
        if (x === '' || y === '') return (x === '') - (y === '');
        return sign * (head.dataset.text ? x.localeCompare(y) : p - q);
      };
      body.append(...[...body.rows].sort(compare));
    };
  });
}
