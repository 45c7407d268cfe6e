// The fonts of the system, so that a page loads nothing but itself.
import theme from 'vitepress/theme-without-fonts';
import './style.css';

export default theme;
