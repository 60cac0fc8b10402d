// Before anything is painted: the theme that was chosen here last, if any.
const themeChosen = localStorage.getItem("theme");
if (themeChosen) document.documentElement.dataset.theme = themeChosen;
